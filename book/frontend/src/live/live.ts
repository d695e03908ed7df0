// The lazy part that a page loads with its first Run: kernel client and live outputs.

import { offerPart } from "../parts";
import { openKernel } from "./kernel";
import { openLab } from "./lab";
import { OutputArea } from "./output_area";
import { presentWidgets } from "./widget_session";
import { showStored } from "./stored_output";

offerPart("live", {
  openKernel,
  openLab,
  openOutputs: (host, container, signal) => new OutputArea(host, container, signal, presentWidgets),
  showStored,
});
