// Owns which modes and panels the Lab has, in the order of their tabs. "look" is the shell's own and not listed.

import type { LabMode, LabPanel } from "../app_contract";

export const MODES: readonly LabMode[] = [];
export const PANELS: readonly LabPanel[] = [];
