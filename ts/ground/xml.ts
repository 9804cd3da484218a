/** Texts in XML, as libvirt writes it. */

/** A text of XML, with the characters that XML writes in another way. */
export function textOfXml(text: string): string {
  const characters = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }
  return text.replace(
    /&(?:#(\d+)|#x([0-9a-fA-F]+)|(amp|lt|gt|quot|apos));/g,
    (_, decimal, hex, name: keyof typeof characters) =>
      name === undefined
        ? String.fromCodePoint(Number.parseInt(decimal ?? hex, decimal === undefined ? 16 : 10))
        : characters[name],
  )
}
