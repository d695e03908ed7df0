// Owns which modes and panels the Lab has, in the order of their tabs. "look" is the shell's own and not listed.

import type { LabMode, LabPanel } from "../app_contract";
import { ablate } from "./ablate";

export const MODES: readonly LabMode[] = [ablate];
export const PANELS: readonly LabPanel[] = [];
