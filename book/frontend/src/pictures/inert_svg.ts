// Owns making a drawn SVG smaller and harmless: no script, link, foreign address or HTML, wherever it is opened.

const XLINK = "http://www.w3.org/1999/xlink";
const REFUSED = "script, foreignObject, iframe, object, embed, animate, set, animateTransform, animateMotion, handler";
/** What plotly needs for a live figure only. */
const IDLE = ".draglayer, .crisp-hover, .hoverlayer, .infolayer .modebar, .zoomlayer, .menulayer:empty";

/** Text of an SVG document that shows the same and can do nothing. */
export function inertSvg(source: string): string {
  const parsed = new DOMParser().parseFromString(source, "image/svg+xml");
  const root = parsed.documentElement;
  if (root.localName !== "svg") throw new Error(`picture: expected an SVG document, got <${root.localName}>`);
  for (const element of root.querySelectorAll(`${REFUSED}, ${IDLE}`)) element.remove();
  for (const element of [root, ...root.querySelectorAll("*")]) clean(element);
  for (const group of [...root.querySelectorAll("g")].reverse()) if (group.childNodes.length === 0) group.remove();
  return new XMLSerializer().serializeToString(root);
}

function clean(element: Element): void {
  // A link would lead out of the picture where somebody opens it by itself.
  if (element.localName === "a") return void element.replaceWith(...element.childNodes);
  for (const { name, value } of [...element.attributes]) {
    if (/^on/i.test(name) || /^data-/.test(name) || name === "class" || leadsOut(name, value)) element.removeAttribute(name);
  }
  const href = element.getAttributeNS(XLINK, "href");
  if (href !== null && !isInside(href)) element.removeAttributeNS(XLINK, "href");
  const style = element.getAttribute("style");
  if (style !== null) element.setAttribute("style", shorter(style));
}

function leadsOut(name: string, value: string): boolean {
  return name === "href" ? !isInside(value) : /javascript:/i.test(value);
}

function isInside(address: string): boolean {
  return address.startsWith("#") || /^data:image\/(png|jpeg|gif|webp);/.test(address);
}

/** Values that are the defaults anyway, which plotly writes to every shape. */
function shorter(style: string): string {
  return style
    .split(/;\s*/)
    .filter((rule) => rule !== "" && !/^(opacity|fill-opacity|stroke-opacity): 1$|^pointer-events:|^cursor:|^(-webkit-)?user-select:|^vector-effect: none$/.test(rule))
    .filter((rule) => !/url\(\s*['"]?(?!['"]?#)/.test(rule))
    .join(";");
}
