// Owns which guides there are, in the order of the menu.

import type { Guide } from "./tour";
import { firstAblation, firstPatch, firstSteer } from "./tour_guides_changing";
import { firstComparison, firstInductionHead, firstLogitLens, labTour } from "./tour_guides_reading";

export const GUIDES: readonly Guide[] = [labTour, firstAblation, firstPatch, firstSteer, firstComparison, firstLogitLens, firstInductionHead];
