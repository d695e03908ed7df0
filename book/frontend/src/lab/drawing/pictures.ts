// Owns the small pictures that the Lab's views share, each with its text twin. It knows no model and asks nothing.

export { effectBars, type SignedBar } from "./effect_bars";
export { guessBars } from "./guess_bars";
export { heatMap, type HeatMap, type HeatMapOptions } from "./heat_map";
export { runBadge } from "./run_badge";
