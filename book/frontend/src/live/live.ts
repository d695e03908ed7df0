// The lazy part that a page loads with its first Run: kernel client and live outputs.

import { offerPart } from "../parts";
import { openKernel } from "./kernel";
import { OutputArea } from "./output_area";

offerPart("live", {
  openKernel,
  openOutputs: (host, container, signal) => new OutputArea(host, container, signal),
});
