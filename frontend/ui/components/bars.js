const create = (tag, className, text = "") => {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
};

export default function ({ parentElement, data }) {
  const list = parentElement.querySelector("ol");
  list.setAttribute("aria-label", data.title);
  list.classList.toggle("muted", Boolean(data.muted));
  list.replaceChildren(
    ...data.rows.map(({ label, share, text }) => {
      const row = document.createElement("li");
      const track = create("div", "track");
      const bar = create("div", "bar");
      bar.style.width = `${100 * share}%`;
      track.append(bar);
      row.append(create("span", "label", label), track, create("span", "text", text));
      return row;
    }),
  );
}
