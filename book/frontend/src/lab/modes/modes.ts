// Owns which modes and panels the Lab has, in the order of their tabs. "look" is the shell's own and not listed.

import type { LabMode, LabPanel } from "../app_contract";
import { exportPanel } from "../export_panel";
import { historyBar } from "../history_bar";
import { historyPanel } from "../history_panel";
import { tourPanel } from "../tour_panel";
import { ablate } from "./ablate";
import { compare } from "./compare";
import { heads } from "./heads";
import { lens } from "./lens";
import { patch } from "./patch";
import { steer } from "./steer";

export const MODES: readonly LabMode[] = [ablate, patch, steer, compare, lens, heads];
export const PANELS: readonly LabPanel[] = [tourPanel, historyBar, exportPanel, historyPanel];
