/**
 * NAME: keeps the queries apart: the mean square of the cosines between an image's queries. A recipe of kind stage1 or stage2 adds it:
 * `"objectives": [{ "name": "NAME", "weight": 0.1 }]`.
 */
import { defineObjective } from '@querent/core';
import type { ObjectivePlugin, Tensor } from '@querent/core';
import { div, matMul, mul, pow, reduceMean, reduceSum, transpose } from '@querent/graph';

/** Rows of length 1. */
const unit = (x: Tensor): Tensor => div(x, pow(reduceSum(mul(x, x), [-1]), 0.5));

const plugin: ObjectivePlugin = defineObjective({
  name: 'NAME',
  description: 'The queries of an image point in different directions.',
  build(_, { image }) {
    const queries = unit(image.queries); // [batch, queries, width]
    const cosines = matMul(queries, transpose(queries, [0, 2, 1])); // [batch, queries, queries]
    return { loss: reduceMean(mul(cosines, cosines), [0, 1, 2], false) };
  },
});
export default plugin;
