// Owns finding out, before a cell runs, which cells above it needs. A page that cannot find out runs the cell all the same.

import type { LiveKernel } from "../live/contract";
import type { CellNames } from "../names/contract";
import { loadPart, type Host } from "../parts";
import { planNeeded, type Lack } from "./plan";
import { cellList } from "./states";

const NOTHING: Lack = { names: [], cells: [] };

export class Needs {
  #names = new Map<string, CellNames>();

  constructor(private readonly host: Host) {}

  /** What the cell at `target` lacks in this kernel, given the code of all cells. */
  async lackOf(codes: readonly string[], target: number, kernel: LiveKernel): Promise<Lack> {
    try {
      const { namesOf } = await loadPart(this.host.config, "names");
      const cells = codes.slice(0, target + 1).map((code) => this.#namesIn(code, namesOf));
      const suspected = planNeeded(cells, target, new Set());
      if (suspected.names.length === 0) return NOTHING;
      return planNeeded(cells, target, await kernel.known(suspected.names));
    } catch {
      return NOTHING;
    }
  }

  #namesIn(code: string, read: (code: string) => CellNames): CellNames {
    const known = this.#names.get(code) ?? read(code);
    this.#names.set(code, known);
    return known;
  }
}

/** `This cell needs what cells 2 and 3 make, and they have not run yet: model, scores.` */
export function sayLack({ names, cells }: Lack): string {
  const shown = names.slice(0, 4).map((name) => `\`${name}\``);
  const more = names.length > shown.length ? ", …" : "";
  const [verb, pronoun] = cells.length === 1 ? ["makes", "it has"] : ["make", "they have"];
  return `This cell needs what ${cellList(cells)} ${verb} (${shown.join(", ")}${more}), and ${pronoun} not run in this kernel.`;
}
