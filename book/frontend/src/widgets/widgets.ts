// The lazy part that a page loads with its first widget: ipywidgets' models and views, and the manager that holds them.

import { offerPart } from "../parts";
import { BookManager } from "./manager";

offerPart("widgets", { createManager: (tools) => new BookManager(tools) });
