// Draws what changes often: in the browser's own frames, and no more often than was asked for.

export class Redraw {
  /** `draw(now)` is called at most once in so many ms. */
  constructor(ms, draw) {
    this.ms = ms;
    this.draw = draw;
    this.drawnAt = -Infinity;
  }

  /** Something has changed. */
  soon() {
    if (this.waiting) return;
    this.waiting = true;
    const rest = this.drawnAt + this.ms - performance.now();
    if (rest > 0) setTimeout(() => this.inFrame(), rest);
    else this.inFrame();
  }

  inFrame() {
    requestAnimationFrame((now) => {
      this.waiting = false;
      this.drawnAt = performance.now();
      this.draw(now);
    });
  }
}
