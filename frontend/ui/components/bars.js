const part = (tag, name, text = "") => {
  const made = document.createElement(tag);
  made.className = name;
  made.textContent = text;
  return made;
};

export default function ({ parentElement, data }) {
  const list = parentElement.querySelector("ol");
  list.setAttribute("aria-label", data.title);
  list.replaceChildren(
    ...data.rows.map(({ label, share, shown }) => {
      const row = document.createElement("li");
      const track = part("div", "track");
      const bar = part("div", "bar");
      bar.style.width = `${100 * share}%`;
      track.append(bar);
      row.append(part("span", "label", label), track, part("span", "shown", shown));
      return row;
    }),
  );
}
