// Owns where a bubble stands: at the first line of its word, below it where there is room and else above.

const MARGIN_PX = 8;

interface Box {
  readonly left: number;
  readonly top: number;
  readonly bottom: number;
}
interface Size {
  readonly width: number;
  readonly height: number;
}

export function placeBubble(bubble: HTMLElement, word: Element): void {
  // A word that is broken over two lines has two boxes; the one around both would be half a page wide.
  const box = word.getClientRects()[0] ?? word.getBoundingClientRect();
  const size = { width: bubble.offsetWidth, height: bubble.offsetHeight };
  const window_ = { width: document.documentElement.clientWidth, height: window.innerHeight };
  const { left, top } = placeFor(box, size, window_);
  bubble.style.left = `${left}px`;
  bubble.style.top = `${top}px`;
}

/** Touching the word, so that the pointer meets no gap on its way into the bubble. */
export function placeFor(word: Box, bubble: Size, window_: Size): { left: number; top: number } {
  const left = Math.max(MARGIN_PX, Math.min(word.left, window_.width - bubble.width - MARGIN_PX));
  const fitsBelow = word.bottom + bubble.height + MARGIN_PX <= window_.height;
  const fitsAbove = word.top - bubble.height >= MARGIN_PX;
  return { left, top: fitsBelow || !fitsAbove ? word.bottom : word.top - bubble.height };
}
