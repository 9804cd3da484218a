// Breaks of the ledger of windows: opened, closed and paused per client and chunk.

const ledger = 'crates/dirtyrate/src/dirty_memory/ledger.rs'
const window = 'crates/dirtyrate/src/dirty_memory/window.rs'
const events = 'crates/dirtyrate/src/dirty_memory/events.rs'
const block = 'crates/dirtyrate/src/dirty_memory/block.rs'
const deadline = 'crates/dirtyrate/src/dirty_memory/deadline.rs'
const tracking = 'crates/dirtyrate/src/dirty_memory/tracking.rs'

export default [
  {
    name: 'let the syncs of others close a window that has closed',
    file: block,
    find: '        self.chunks[chunk].fetched = Some(now);\n        for (_, bits) in self.bits.iter_mut().filter(|(client, _)| tracks(**client, self.vga)) {',
    replace:
      '        self.chunks[chunk].fetched = Some(now);\n        let _ = tracks;\n        for (_, bits) in self.bits.iter_mut() {',
    test: 'ledger',
  },
  {
    name: 'let a dropped first round open no window',
    file: block,
    find: '            bits.windows[chunk].go_on(now);',
    replace: '            let _ = &mut bits.windows[chunk];',
    test: 'ledger',
  },
  {
    name: 'count the time between a stop and a start',
    file: block,
    find: '            window.go_on(self.opened);',
    replace: '            let _ = window;',
    test: 'ledger',
  },
  {
    name: 'begin a new part at each start',
    file: block,
    find: '        if !was_given_all {',
    replace: '        if !was_given_all || true {',
    test: 'dirty_memory_model',
  },
  {
    name: 'take a rate over a pause too',
    file: window,
    find: 'let ran = self.elapsed - self.stood;',
    replace: 'let ran = self.elapsed;',
    test: 'ledger',
  },
  {
    name: 'keep a pause from before a take',
    file: ledger,
    find: 'moment.paused_since(asked.at)',
    replace: '{ let _ = (asked, moment); self.clock().pauses() > 0 }',
    test: 'ledger',
  },
  {
    name: 'give a truth to a window of several parts',
    file: events,
    find: '            if !window.is_of_one_part() {',
    replace: '            if false {',
    test: 'dirty_memory_model',
  },
  {
    name: 'count what the host wrote after a stop to the truth',
    file: events,
    find: 'reaped: asked.stopped.clone().unwrap_or(now),',
    replace: 'reaped: now,',
    test: 'dirty_memory_model',
  },
  {
    name: 'open the window of a new block before its log is on',
    file: 'crates/dirtyrate/src/dirty_memory/memory.rs',
    find: '        tracking.iter().for_each(|client| blocks[at].begin_tracking(*client));',
    replace: '        let _ = (tracking, blocks);',
    test: 'dirty_memory_model',
  },
  {
    name: 'put bits back without their window',
    file: 'crates/dirtyrate/src/dirty_memory/copy.rs',
    find: 'self.put_window_back(taken.client, chunk, window);',
    replace: 'let _ = window;',
    test: 'ledger',
  },
  {
    name: 'put back bits behind the last page',
    file: 'crates/dirtyrate/src/dirty_memory/copy.rs',
    find: 'let last = [*last & tail_mask(pages)];',
    replace: 'let _ = tail_mask(pages);\n    let last = [*last];',
    test: 'ledger',
  },
  {
    name: 'take the bits of a window in which the guest was paused',
    file: deadline,
    find: 'if memory.bits().paused_in_window(client) { Err(paused_within()) } else { Ok((late, sync)) }',
    replace: 'let _ = opened; Ok((late, sync))',
    test: 'ledger',
  },
  {
    name: 'let the display, which has stopped, be told of writes by its truth',
    file: tracking,
    find: '                bits.ledger.stop(Client::Vga);',
    replace: '',
    test: 'dirty_memory_model',
  },
  {
    name: 'count deadlines from now without a block of the opening',
    file: events,
    find: 'Some(last.unwrap_or(asked.at))',
    replace: 'Some(last.unwrap_or_else(|| self.ledger.clock().now()))',
    test: 'window_without_blocks',
  },
  {
    name: 'put a deadline off for blocks that came later',
    file: events,
    find: '        let here = self.blocks.iter().filter(|block| block.added <= asked.event);\n        let windows = here',
    replace: '        let windows = self.blocks.iter()',
    test: 'window_without_blocks',
  },
  {
    name: 'count time twice that a taken window shares with the next one',
    file: window,
    find: 'let overlaps = until.event < fetched && newer.first.at.is_before(until.at);',
    replace: 'let overlaps = until.event < fetched && false;',
    test: 'dirty_memory_model',
  },
  {
    name: 'add the lengths of windows that are put back in another order',
    file: window,
    find: '.less(twice).at_most(most)',
    replace: '.less(twice).at_most(Length { elapsed: most.elapsed + Duration::MAX / 2, ..most })',
    test: 'ledger',
  },
  {
    name: 'count time twice when a client starts again over unprotected pages',
    file: window,
    find: 'Some(closed) if at.at.is_before(closed.at) => {}',
    replace: 'Some(closed) if at.at.is_before(closed.at) && false => {}',
    test: 'ledger',
  },
  {
    name: 'let a window that is put back go on over a dropped round',
    file: block,
    find: '        self.chunks[chunk].let_go_on(&mut bits.windows[chunk]);',
    replace: '',
    test: 'dirty_memory_model',
  },
  {
    name: 'put every window back before the bits',
    file: 'crates/dirtyrate/src/dirty_memory/copy.rs',
    find: '        of_client.vcpus.reserve_all(&taken.vcpus)?;\n        (pages, chunk_words)',
    replace:
      '        of_client.vcpus.reserve_all(&taken.vcpus)?;\n        for (chunk, window) in taken.windows.iter().enumerate() {\n            block.put_window_back(taken.client, chunk, window);\n        }\n        (pages, chunk_words)',
    test: 'read_beside_put_back',
  },
  {
    name: 'put all that the vCPUs wrote back with each chunk',
    file: 'crates/dirtyrate/src/dirty_memory/copy.rs',
    find: 'of_client.vcpus.add_part(&taken.vcpus, first..first + words);',
    replace: 'of_client.vcpus.add_part(&taken.vcpus, first..first + words + 1);',
    test: 'read_beside_put_back',
  },
]
