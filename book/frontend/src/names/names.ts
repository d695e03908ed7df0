// The lazy part that a page loads with its first Run, to see which cells need others. Far smaller than the editor.

import { offerPart } from "../parts";
import { namesOf } from "./cell_names";

offerPart("names", { namesOf });
