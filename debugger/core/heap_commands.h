// heap_commands.h: what the commands about the heap share (defined in commands_mheap.cc).
#pragma once
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "commands.h"
#include "goroutine_rows.h"
#include "heap_state.h"
#include "plain_rows.h"

namespace vitrine::inspect {

// The heap of the target; nullopt after having said why there is none to see.
std::optional<HeapState*> look_at_heap(Session& session, Sink& sink);
// What the target, the scheduler and the heap warn of. Any of it makes the answer incomplete.
std::vector<std::string> heap_warnings(HeapState& heap);
std::string no_such_class(const HeapState& heap, std::uint64_t sizeclass);
// The options of a list in which nothing is hidden, and these.
std::vector<OptionSpec> heap_list_options(std::initializer_list<OptionSpec> more = {});
// `nothing`: the answer when there are no rows at all; `more`: warnings beside those of the heap.
Outcome list_rows(HeapState& heap, Sink& sink, PlainRows& rows, const Options& options, std::string_view nothing,
                  const std::vector<std::string>& more = {});
// Ends an answer that is no list: warnings where they belong. mode: as json_mode says.
Outcome page_end(Buffered& out, Sink& sink, const std::vector<std::string>& warnings, int mode);
// Columns behind -sort, -cols and -where; else options.
void complete_columns(std::span<const OptionSpec> specs, std::span<const ColumnSpec> columns, const Line& line,
                      std::string_view partial, const Complete& offer);

}  // namespace vitrine::inspect
