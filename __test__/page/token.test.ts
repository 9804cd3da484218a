// The token that somebody types into the page.

import { expect, test } from 'vitest'
import { canBeToken } from '../../page/live/token.js'

test('a token is one that the server takes from a file', () => {
  // What ts/server/token.ts refuses is refused here too, apart from its length.
  const texts = ['00112233445566778899', '~!"$%&', 'naïve-token', 'two words', 'a\nbreak', '']
  expect(texts.filter(canBeToken)).toEqual(['00112233445566778899', '~!"$%&'])
})
