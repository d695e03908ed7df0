// Owns what of foreign HTML may enter the page. Scripts, styles, frames and forms never do; see frames for those.

import DOMPurify from "dompurify";

const FORBIDDEN = [
  "style", "form", "input", "button", "textarea", "select", "option", "dialog", "iframe", "object", "embed", "link",
  "meta", "base", "audio", "video", "source", "track", "picture", "slot", "template",
];

/** What a table or a coloured text needs; nothing here can load, cover or move anything outside its box. */
const HARMLESS_STYLES = new Set([
  "background-color", "border", "border-bottom", "border-collapse", "border-color", "border-left", "border-radius",
  "border-right", "border-spacing", "border-style", "border-top", "border-width", "color", "font-family", "font-size",
  "font-style", "font-variant", "font-weight", "height", "line-height", "list-style-type", "max-height", "max-width",
  "min-width", "opacity", "overflow", "overflow-x", "overflow-y", "padding", "padding-bottom", "padding-left", "padding-right",
  "padding-top", "text-align", "text-decoration", "text-indent", "vertical-align", "white-space", "width",
]);
const DANGEROUS_VALUE = /[\\@<{}]|url|image|expression|attr\s*\(|var\s*\(|env\s*\(|\/\*/i;
const IMAGE_DATA = /^data:image\/(png|jpeg|gif|webp|svg\+xml)[;,]/i;
/** Tables and the judge's verdicts; no other class may be borrowed from the page. */
const KEPT_CLASSES = new Set(["dataframe", "tl-verdict", "tl-verdict-right", "tl-verdict-not-yet"]);
const LINK = /^(https?:|mailto:|#|[\w./-]*$|[\w./-]+[#?])/i;

/** Clean foreign HTML; the result holds only elements and attributes that cannot act. */
export function sanitise(html: string): DocumentFragment {
  const purifier = DOMPurify(window);
  purifier.addHook("uponSanitizeAttribute", (node, data) => {
    if (data.attrName === "style") data.attrValue = harmlessStyle(data.attrValue);
    // The page's own classes could cover it or pretend to be a part of it.
    if (data.attrName === "class") data.attrValue = data.attrValue.split(/\s+/).filter((name) => KEPT_CLASSES.has(name)).join(" ");
    if (data.attrName === "srcset" || data.attrName === "background") data.keepAttr = false;
    if (data.attrName === "src") data.keepAttr = IMAGE_DATA.test(data.attrValue);
    if (data.attrName === "xlink:href" || data.attrName === "href") data.keepAttr = allowsLink(node, data.attrValue);
  });
  purifier.addHook("afterSanitizeAttributes", (node) => {
    if (node.tagName !== "A" || !/^https?:/i.test(node.getAttribute("href") ?? "")) return;
    node.setAttribute("target", "_blank");
    node.setAttribute("rel", "noopener noreferrer");
  });
  return purifier.sanitize(html, {
    FORBID_TAGS: FORBIDDEN,
    USE_PROFILES: { html: true, svg: true, svgFilters: false },
    ALLOW_DATA_ATTR: false,
    SANITIZE_NAMED_PROPS: true,
    RETURN_DOM_FRAGMENT: true,
  });
}

/** Whether HTML brings something that acts, and so must live in a frame of its own. */
export function needsIsolation(html: string): boolean {
  if (!/<\s*(script|style)/i.test(html)) return false;
  const parsed = new DOMParser().parseFromString(html, "text/html");
  // pandas puts a scoped style before every table; dropping it loses nothing.
  return parsed.querySelector("script, style:not([scoped])") !== null;
}

export function harmlessStyle(style: string): string {
  return style
    .split(";")
    .map((declaration) => declaration.trim())
    .filter((declaration) => {
      const [name = "", ...value] = declaration.split(":");
      return HARMLESS_STYLES.has(name.trim().toLowerCase()) && !DANGEROUS_VALUE.test(value.join(":"));
    })
    .join("; ");
}

function allowsLink(node: Element, url: string): boolean {
  // Inside a drawing only its own parts may be referred to.
  return node.namespaceURI === "http://www.w3.org/2000/svg" ? url.startsWith("#") : LINK.test(url.trim());
}
