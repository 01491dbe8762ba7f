/** Verifies BERT as a masked language model (HF `BertForMaskedLM`): hidden states, logits, and a loss whose labels are not shifted. */
import type { JsonObject } from '@querent/hub';
import { validate } from '@querent/core';
import { createGraph } from '@querent/graph';
import type { BertConfig } from '@querent/llm-adapters';
import { bertConfigSchema, bertMaskedLanguageModel } from '@querent/llm-adapters';
import { check, input, reportOf } from './fixture.ts';
import type { Fixture } from './fixture.ts';
import type { VerifyReport } from './report.ts';
import { runOnce } from './run-graph.ts';

/** Is this the config of a BERT? */
export function isBert(config: JsonObject): boolean {
  return config['model_type'] === 'bert';
}

export async function verifyBert(fixture: Fixture): Promise<VerifyReport> {
  const config = validate<BertConfig>(bertConfigSchema, fixture.config, { what: 'config.json' });
  const shape = ['batch', 'tokens'];
  const g = createGraph('bert');
  const [segments, labels] = [fixture.inputs.get('token_type_ids'), fixture.inputs.get('labels')];
  const { lastHiddenState, logits, loss } = bertMaskedLanguageModel(
    g,
    {
      inputIds: g.input('input_ids', 'int64', shape),
      attentionMask: g.input('attention_mask', 'int64', shape),
      ...(segments === undefined ? {} : { tokenTypeIds: g.input('token_type_ids', 'int64', shape) }),
      ...(labels === undefined ? {} : { labels: g.input('labels', 'int64', shape) }),
    },
    config,
  );
  g.output('last_hidden_state', lastHiddenState);
  g.output('logits', logits);
  if (loss !== undefined) g.output('loss', loss);
  const mask = input(fixture, 'attention_mask');
  const outputs = await runOnce(g.graph, fixture, {
    input_ids: input(fixture, 'input_ids'),
    attention_mask: mask,
    ...(segments === undefined ? {} : { token_type_ids: segments }),
    ...(labels === undefined ? {} : { labels }),
  });
  for (const [name, actual] of outputs) check(fixture, name, actual, name === 'loss' ? {} : { counts: mask.data });
  return reportOf(fixture, 'masked language model bert');
}
