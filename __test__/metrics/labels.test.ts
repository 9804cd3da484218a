import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { labelOf, uniqueLabelOf } from '../../ts/metrics/labels.js'

/** Texts of all kinds, also with half surrogates and control characters. */
const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 300 }),
  fc
    .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 300 })
    .map(units => String.fromCharCode(...units)),
)

describe('a label', () => {
  it('is the text itself, if there is nothing wrong with it', () => {
    for (const text of ['libvirt:web', 'qmp:/run/a b"c\\d.sock', 'libvirt:Büro-Ω-机', ''])
      expect(labelOf(text)).toBe(text)
  })

  it('has no character that a terminal or a page could take for an order', () => {
    expect(labelOf('a\nb\x1b[31m\x7f\x9b\u202ec\u2028')).toBe(
      'a\ufffdb\ufffd[31m\ufffd\ufffd\ufffdc\ufffd',
    )
    expect(labelOf('x\ud800y\udc00')).toBe('x\ufffdy\ufffd')
  })

  it('is short and well-formed, whatever the text is', () => {
    fc.assert(
      fc.property(anyText, text => {
        const label = labelOf(text)
        expect(label.length).toBeLessThanOrEqual(200)
        // What UTF-8 cannot say would be another text at the other end.
        expect(Buffer.from(label).toString()).toBe(label)
        expect(label).not.toMatch(/\p{Cc}/u)
      }),
    )
  })

  it('is no label that another target has', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(anyText, fc.constantFrom('a', 'a#2', 'b'.repeat(199), 'b'.repeat(500))), {
          maxLength: 20,
        }),
        texts => {
          const taken = new Set<string>()
          for (const text of texts) {
            const label = uniqueLabelOf(text, taken)
            expect(taken.has(label)).toBe(false)
            expect(label.length).toBeLessThanOrEqual(200)
            taken.add(label)
          }
        },
      ),
    )
    expect(uniqueLabelOf('a', new Set(['a', 'a#2']))).toBe('a#3')
  })
})
