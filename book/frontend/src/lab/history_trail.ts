// Owns undo and redo: the moments of a Lab, each whole in itself. Pure; going back computes nothing again.

import type { LabNow } from "./app_contract";

export type Moment = Pick<LabNow, "baseline" | "mode" | "selection" | "experiment" | "history">;

const MOST = 100;

export function momentOf({ baseline, mode, selection, experiment, history }: LabNow): Moment {
  return { baseline, mode, selection, experiment, history };
}

export class Trail {
  #moments: Moment[] = [];
  #at = -1;

  get canUndo(): boolean {
    return this.#at > 0;
  }

  get canRedo(): boolean {
    return this.#at < this.#moments.length - 1;
  }

  /** Keep a moment. What is still running is none yet; one that differs in the position alone takes its predecessor's place. */
  record(moment: Moment): void {
    const last = this.#moments[this.#at];
    if (moment.baseline === null || moment.experiment.kind === "running" || (last && isSame(last, moment))) return;
    if (last && isSame({ ...last, selection: { ...last.selection, position: moment.selection.position, place: moment.selection.place } }, moment)) {
      this.#moments[this.#at] = moment;
      return;
    }
    this.#moments = [...this.#moments.slice(0, this.#at + 1), moment].slice(-MOST);
    this.#at = this.#moments.length - 1;
  }

  undo(): Moment | null {
    return this.canUndo ? (this.#moments[(this.#at -= 1)] ?? null) : null;
  }

  redo(): Moment | null {
    return this.canRedo ? (this.#moments[(this.#at += 1)] ?? null) : null;
  }
}

function isSame(a: Moment, b: Moment): boolean {
  const [left, right] = [a.selection, b.selection];
  const isSameSelection = left === right || (left.position === right.position && left.place === right.place && left.parts.join() === right.parts.join());
  return isSameSelection && a.baseline === b.baseline && a.mode === b.mode && isSameExperiment(a, b) && a.history === b.history;
}

/** "No experiment" is a new object each time. */
function isSameExperiment(a: Moment, b: Moment): boolean {
  return a.experiment === b.experiment || (a.experiment.kind === "none" && b.experiment.kind === "none");
}
