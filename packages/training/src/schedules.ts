/**
 * Learning rates. Two shapes of BLIP-2's "linear warm-up, then cosine": per step (what the paper means) and per epoch
 * (what its public code does, with warm-up inside epoch 0). Steps and epochs count from 0.
 */

export interface PerStepSchedule {
  readonly type: 'linear_warmup_cosine';
  readonly peak: number;
  readonly minimum: number;
  readonly warmupSteps: number;
  /** Rate at step 0. Default 0. */
  readonly warmupStart?: number;
}

export interface PerEpochSchedule {
  readonly type: 'linear_warmup_cosine_per_epoch';
  readonly peak: number;
  readonly minimum: number;
  readonly warmupSteps: number;
  readonly warmupStart: number;
  readonly epochs: number;
  readonly stepsPerEpoch: number;
}

export interface ConstantSchedule {
  readonly type: 'constant';
  readonly peak: number;
}

export type Schedule = PerStepSchedule | PerEpochSchedule | ConstantSchedule;

/** The learning rate of `step`, of `totalSteps` in all. */
export function learningRateAt(schedule: Schedule, step: number, totalSteps: number): number {
  switch (schedule.type) {
    case 'constant':
      return schedule.peak;
    case 'linear_warmup_cosine':
      return perStep(schedule, step, totalSteps);
    case 'linear_warmup_cosine_per_epoch':
      return perEpoch(schedule, Math.floor(step / schedule.stepsPerEpoch), step);
  }
}

/** start → peak over the warm-up, then peak → minimum along half a cosine. */
function perStep(schedule: PerStepSchedule, step: number, totalSteps: number): number {
  const start = schedule.warmupStart ?? 0;
  if (step < schedule.warmupSteps) return start + ((schedule.peak - start) * (step + 1)) / schedule.warmupSteps;
  const rest = Math.max(1, totalSteps - schedule.warmupSteps);
  return cosine(schedule.peak, schedule.minimum, Math.min(1, (step - schedule.warmupSteps) / rest));
}

/** LAVIS's LinearWarmupCosineLRScheduler: warm-up while epoch = 0, afterwards constant inside an epoch. */
export function perEpoch(schedule: Omit<PerEpochSchedule, 'type' | 'stepsPerEpoch'>, epoch: number, stepInEpoch: number): number {
  if (epoch === 0) {
    const climbed = ((schedule.peak - schedule.warmupStart) * stepInEpoch) / Math.max(schedule.warmupSteps, 1);
    return Math.min(schedule.peak, schedule.warmupStart + climbed);
  }
  return cosine(schedule.peak, schedule.minimum, epoch / schedule.epochs);
}

function cosine(peak: number, minimum: number, progress: number): number {
  return minimum + (peak - minimum) * 0.5 * (1 + Math.cos(Math.PI * progress));
}
