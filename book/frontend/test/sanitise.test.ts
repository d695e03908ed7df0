import { describe, expect, test } from "vitest";
import { harmlessStyle, needsIsolation, sanitise } from "../src/live/sanitise";

function clean(html: string): string {
  const box = document.createElement("div");
  box.append(sanitise(html));
  return box.innerHTML;
}

const HOSTILE = [
  '<img src=x onerror="alert(1)">',
  '<img src="https://elsewhere.example/pixel.gif">',
  '<img srcset="https://elsewhere.example/pixel.gif 1x">',
  "<svg onload=alert(1)></svg>",
  "<svg><script>alert(1)</script></svg>",
  '<svg><a xlink:href="javascript:alert(1)"><text>x</text></a></svg>',
  '<svg><use href="https://elsewhere.example/x.svg#a"></use></svg>',
  '<svg><image href="https://elsewhere.example/x.png"></image></svg>',
  "<script>alert(1)</script>",
  "<style>body{background:url(https://elsewhere.example)}</style>",
  '<p style="background:url(https://elsewhere.example)">x</p>',
  '<p style="background-image:image-set(\'https://elsewhere.example\' 1x)">x</p>',
  '<p style="position:fixed;inset:0;z-index:9999">x</p>',
  '<p style="color:red;background:u\\72l(https://elsewhere.example)">x</p>',
  '<a href="javascript:alert(1)">x</a>',
  '<a href=" java\tscript:alert(1)">x</a>',
  '<a href="data:text/html,<script>alert(1)</script>">x</a>',
  '<a href="vbscript:x">x</a>',
  '<iframe src="https://elsewhere.example"></iframe>',
  '<iframe srcdoc="<script>alert(1)</script>"></iframe>',
  '<object data="https://elsewhere.example"></object><embed src="x">',
  '<link rel=stylesheet href="https://elsewhere.example">',
  '<meta http-equiv=refresh content="0;url=https://elsewhere.example"><base href="https://elsewhere.example">',
  '<form action="https://elsewhere.example"><input name=password><button>Sign in</button></form>',
  '<video src="https://elsewhere.example" autoplay></video><audio src="x"></audio>',
  '<math><mtext><table><mglyph><style><img src=x onerror="alert(1)"></style></mglyph></table></mtext></math>',
  '<table background="https://elsewhere.example"><tr><td>x</td></tr></table>',
  "<noscript><p title='</noscript><img src=x onerror=alert(1)>'></noscript>",
  '<div data-state="live" onclick="alert(1)" autofocus tabindex=1 onfocus=alert(1)>x</div>',
];

const FORBIDDEN =
  /elsewhere|alert|script|onerror|onload|onclick|onfocus|position|url\(|<(iframe|object|embed|form|input|button|style|link|meta|base|video|audio)/i;

describe("hostile HTML", () => {
  test.each(HOSTILE)("%s loses what could act", (html) => {
    expect(clean(html)).not.toMatch(FORBIDDEN);
  });

  test("cannot dress as a part of the page", () => {
    expect(clean('<div class="tl-chat position-fixed dataframe">x</div>')).toBe('<div class="dataframe">x</div>');
    expect(clean('<p class="tl-verdict tl-verdict-right tl-button">x</p>')).toBe('<p class="tl-verdict tl-verdict-right">x</p>');
  });

  test("cannot take the name of an element of the page", () => {
    expect(clean('<p id="tl-page">x</p>')).toBe('<p id="user-content-tl-page">x</p>');
  });
});

describe("harmless HTML", () => {
  test("a table keeps its cells, classes and colours", () => {
    const table = '<table class="dataframe"><tbody><tr><td style="color: red; text-align: right">1</td></tr></tbody></table>';
    expect(clean(table)).toBe(table);
  });

  test("pictures that carry their own data stay", () => {
    expect(clean('<img src="data:image/png;base64,AAAA" alt="dot">')).toBe('<img src="data:image/png;base64,AAAA" alt="dot">');
  });

  test("links out open beside the book and tell nothing", () => {
    const link = sanitise('<a href="https://arxiv.org/abs/1706.03762">paper</a>').querySelector("a");
    expect(link?.getAttribute("rel")).toBe("noopener noreferrer");
    expect(link?.getAttribute("target")).toBe("_blank");
  });

  test("links within the book stay as they are", () => {
    expect(clean('<a href="../book/glossary.html#head">head</a>')).toBe('<a href="../book/glossary.html#head">head</a>');
  });
});

describe("styles", () => {
  test.each([
    ["color: red; width: 10px", "color: red; width: 10px"],
    ["COLOR: red", "COLOR: red"],
    ["position: absolute; color: red", "color: red"],
    ["color: expression(alert(1))", ""],
    ["width: 1px /* ; */", ""],
    ["--x: 1; color: var(--x)", ""],
    ["nonsense", ""],
  ])("%j becomes %j", (style, kept) => {
    expect(harmlessStyle(style)).toBe(kept);
  });
});

describe("isolation", () => {
  test.each([
    ["<p>text</p>", false],
    ["<div><style scoped>td { color: red }</style><table></table></div>", false],
    ["<style>#T_1 td { color: red }</style><table></table>", true],
    ["<script>draw()</script>", true],
    ["<SCRIPT src=x></SCRIPT>", true],
    ["<p>the word &lt;script&gt; in prose</p>", false],
  ])("%j: %s", (html, isolated) => {
    expect(needsIsolation(html)).toBe(isolated);
  });
});
