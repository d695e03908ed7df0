// The lazy part that a page loads when the chat is opened for the first time.

import { offerPart } from "../parts";
import { Panel } from "./panel";

offerPart("chat", { create: (host, onClose) => new Panel(host, onClose) });
