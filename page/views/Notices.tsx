/** What has happened to a VM: failures, warnings and changes, the newest first. */

import { clock, safe } from '../format.js'
import type { Notice, Vm } from '../state/state.js'

const SHOWN = 50

export function Notices({ vm }: { vm: Vm }) {
  const notices: Notice[] = vm.notices.slice(vm.notices.length - SHOWN).reverse()
  if (notices.length === 0) return null
  return (
    <section class="card" aria-labelledby="messages">
      <header class="card-head">
        <h2 id="messages">Messages</h2>
      </header>
      <ol class="notices" tabIndex={0} aria-label="Messages, the newest first">
        {notices.map((notice, at) => (
          <li key={`${notice.at} ${vm.notices.length - at}`}>
            <time>{clock(notice.at)}</time>
            <span>
              {safe(notice.text)} {notice.code !== undefined && <code>{safe(notice.code)}</code>}
              {notice.hint !== undefined && <span class="quiet"> {safe(notice.hint)}</span>}
            </span>
          </li>
        ))}
      </ol>
    </section>
  )
}
