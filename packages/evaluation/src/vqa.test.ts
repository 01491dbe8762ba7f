import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { evaluateNocaps, evaluateVqa, normaliseAnswer, parseNocaps, parseVqaDataset, vqaAccuracy, vqaMetric } from './index.ts';

describe('VQA accuracy', () => {
  interface Row {
    readonly prediction: string;
    readonly answers: readonly string[];
    readonly normalised: string;
    readonly accuracy: number;
  }
  // Made by a Python transcription of the public VQA tool's functions, on random answers and on every entry of its table of contractions.
  const rows = JSON.parse(readFileSync(new URL('../fixtures/vqa-accuracy.json', import.meta.url), 'utf8')) as Row[]; // our own fixture

  it('is the public tool’s, for what it normalises and for what it counts', () => {
    expect(rows.length).toBeGreaterThan(500);
    for (const { prediction, answers, normalised, accuracy } of rows) {
      expect(normaliseAnswer(prediction), JSON.stringify(prediction)).toBe(normalised);
      expect(vqaAccuracy(prediction, answers), JSON.stringify({ prediction, answers })).toBeCloseTo(accuracy, 12);
    }
  });

  it.each([
    [0, 0],
    [1, 0.3],
    [2, 0.6],
    [3, 0.9],
    [4, 1],
    [10, 1],
  ])('%i of ten people agreeing are worth %f', (agreeing, worth) => {
    const answers = Array.from({ length: 10 }, (_, i) => (i < agreeing ? 'dog' : `other ${i}`));
    expect(vqaAccuracy('the dog.', answers)).toBeCloseTo(worth, 12);
  });

  it('lies in [0, 1] whatever is said', () => {
    fc.assert(fc.property(fc.string(), fc.array(fc.string(), { minLength: 1, maxLength: 10 }), (prediction, answers) => {
      const accuracy = vqaAccuracy(prediction, answers);
      expect(accuracy >= 0 && accuracy <= 1).toBe(true);
    }));
  });

  it('takes one answer as right or wrong', () => {
    expect([vqaAccuracy('Two', ['2']), vqaAccuracy('a chair', ['the chair']), vqaAccuracy('chairs', ['chair'])]).toEqual([1, 1, 0]);
    expect(() => vqaAccuracy('x', [])).toThrow(expect.objectContaining({ code: 'QRT_USAGE' }));
    expect(vqaMetric.evaluate([{ id: '1', prediction: 'two', reference: ['2'] }], undefined)).toMatchObject({ figures: { VQA_accuracy: 100 } });
  });
});

const annotated = {
  questions: { data_subtype: 'val2014', questions: [{ question_id: 7, image_id: 42, question: 'What is it?' }] },
  annotations: { annotations: [{ question_id: 7, answer_type: 'other', question_type: 'what is', answers: Array.from({ length: 10 }, (_, i) => ({ answer: i < 3 ? 'dog' : 'cat', answer_id: i })) }] },
};

describe('questions', () => {
  it('are read as VQAv2 and OK-VQA, GQA and DAQUAR write them', () => {
    const [vqa] = parseVqaDataset(annotated.questions, 'q', annotated.annotations);
    expect(vqa).toMatchObject({ id: '7', filename: 'COCO_val2014_000000000042.jpg', answerType: 'other', questionType: 'what is' });
    expect(evaluateVqa(new Map([['7', 'dog']]), [vqa!])).toEqual({ accuracy: expect.closeTo(90, 9) as number, perAnswerType: { other: expect.closeTo(90, 9) as number }, perQuestionType: { 'what is': expect.closeTo(90, 9) as number }, questions: 1 });
    expect(parseVqaDataset({ '201307251': { imageId: '2354786', question: 'Is it dark?', answer: 'yes', types: { structural: 'verify' } } }, 'gqa')).toEqual([
      { id: '201307251', filename: '2354786.jpg', question: 'Is it dark?', answers: ['yes'], questionType: 'verify' },
    ]);
    expect(parseVqaDataset([{ image: 'image1.jpg', question: 'how many?', answer: '2' }], 'daquar')).toEqual([{ id: '0', filename: 'image1.jpg', question: 'how many?', answers: ['2'] }]);
  });

  it('that were not answered count as wrong', () => {
    expect(evaluateVqa(new Map(), parseVqaDataset(annotated.questions, 'q', annotated.annotations)).accuracy).toBe(0);
  });

  it.each([
    ['null', null],
    ['a text', 'x'],
    ['an empty list', []],
    ['an empty object', {}],
    ['no answers file', annotated.questions],
    ['a row that is none', [3]],
    ['an image outside', [{ image: '../x.jpg', question: 'q', answer: 'a' }]],
    ['a blank question', [{ image: 'x.jpg', question: ' ', answer: 'a' }]],
    ['no answer', [{ image: 'x.jpg', question: 'q' }]],
    ['an id twice', [{ question_id: 1, image: 'x.jpg', question: 'q', answer: 'a' }, { question_id: 1, image: 'x.jpg', question: 'q', answer: 'a' }]],
  ])('%s is refused with a code', (_, document) => {
    expect(() => parseVqaDataset(document, 'file.json')).toThrow(expect.objectContaining({ code: 'QRT_DATASET' }));
  });

  it('any document at all is read or refused with a code', () => {
    fc.assert(fc.property(fc.jsonValue(), fc.jsonValue(), (document, annotations) => {
      try {
        parseVqaDataset(document, 'file.json', annotations);
      } catch (error) {
        expect(error).toMatchObject({ code: 'QRT_DATASET' });
      }
    }));
  });
});

it('NoCaps is scored by domain and over all', () => {
  const domains = ['in-domain', 'near-domain', 'near-domain', 'out-domain'];
  const images = parseNocaps(
    { images: domains.map((domain, id) => ({ id, file_name: `${id}.jpg`, domain })), annotations: domains.flatMap((_, id) => [0, 1].map((k) => ({ image_id: id, caption: `a photo of thing ${id} number ${k}` }))) },
    'nocaps.json',
  );
  const figures = evaluateNocaps(new Map(domains.map((_, id) => [`${id}.jpg`, `a photo of thing ${id} number 0`])), images);
  expect(Object.entries(figures).map(([name, { images: count }]) => [name, count])).toEqual([['in-domain', 1], ['near-domain', 2], ['out-domain', 1], ['overall', 4]]);
  expect(figures.overall.Bleu_4).toBeGreaterThan(0.99);
  for (const bad of [null, {}, { images: [{ id: 1, file_name: 'a.jpg', domain: 'x' }], annotations: [] }]) expect(() => parseNocaps(bad, 'n')).toThrow(expect.objectContaining({ code: 'QRT_DATASET' }));
});
