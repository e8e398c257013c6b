// What scrolls can be reached, and so scrolled, by the keyboard.
const scrolled = ".picture, pre, .table-wrapper, .cell_output .output, .math";
const reach = () => document.querySelectorAll(scrolled).forEach((box) => {
  if (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight) box.tabIndex = 0;
});
addEventListener("load", reach);
addEventListener("resize", reach);
document.addEventListener("toggle", reach, true);
