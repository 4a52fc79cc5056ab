"""Draws what operations cost: a bar for each guest, in instructions, with the number beside it."""

COLOURS = {"Elfin q35": "#2a6fbb", "Linux": "#b0b0b0"}
WIDTH, LEFT, BAR, GAP = 760, 220, 11, 9


def draw(results):
    """An SVG of the operations, on a logarithmic scale."""
    from math import log10
    guests = [guest for guest in COLOURS if guest in results]
    rows = [row for row in results["Elfin q35"] if row in results.get("Linux", {})]
    most = max((results[guest][row] for guest in guests for row in rows), default=10)
    scale = (WIDTH - LEFT - 70) / log10(most)
    parts, y = [], 30
    for index, guest in enumerate(guests):
        x = LEFT + 110 * index
        parts.append(f'<rect x="{x}" y="8" width="10" height="10" fill="{COLOURS[guest]}"/>')
        parts.append(f'<text x="{x + 15}" y="17">{guest.split()[0]}</text>')
    for row in rows:
        parts.append(f'<text x="{LEFT - 8}" y="{y + BAR}" text-anchor="end">{row}</text>')
        for guest in guests:
            count = results[guest][row]
            width = scale * log10(max(count, 1))
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{width:.0f}" height="{BAR - 1}" fill="{COLOURS[guest]}"/>')
            parts.append(f'<text x="{LEFT + width + 4:.0f}" y="{y + BAR - 1}">{count:,}</text>')
            y += BAR
        y += GAP
    title = "Instructions an operation takes (logarithmic)"
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 20}" font-family="sans-serif" '
            f'font-size="11">\n<title>{title}</title>\n<rect width="100%" height="100%" fill="#fff"/>\n'
            + "\n".join(parts) + f'\n<text x="{LEFT}" y="{y + 10}">{title}</text>\n</svg>\n')
