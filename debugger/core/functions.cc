// functions.cc: see functions.h.
#include "functions.h"

#include <fmt/format.h>

#include "dialect_trace.h"
#include "heap_state.h"
#include "layout.h"
#include "model.h"
#include "stacks.h"
#include "whereabouts.h"

namespace vitrine::inspect {
namespace {

using Arguments = std::span<const std::uint64_t>;

// What a thread runs: a g by the thread-local variable that says so, and, when that is the scheduler's own, the goroutine
// that waits for it to come back. 0: none.
Result<std::uint64_t> running_on(Session& session, Memory& memory, std::uint64_t thread_pointer) {
  auto layout = session.layout();
  if (!layout) return layout.error();
  const TraceNames* names = trace_names(session.program());
  std::optional<std::int64_t> slot;
  if (names) slot = session.program().thread_local_offset(names->current_g);
  if (names && !slot) slot = names->usual_slot;
  if (!slot) return Error{"this program does not say which goroutine a thread runs", {}};
  auto g = memory.get<std::uint64_t>(thread_pointer + static_cast<std::uint64_t>(*slot));
  if (!g || !*g) return g;
  auto m = (*layout)->get(memory, *g, F::g_m);
  if (!m || !*m) return m ? g : Result<std::uint64_t>(m.error());
  auto g0 = (*layout)->get(memory, *m, F::m_g0), gsignal = (*layout)->get(memory, *m, F::m_gsignal);
  if (!g0 || !gsignal) return g0 ? gsignal.error() : g0.error();
  return *g == *g0 || *g == *gsignal ? (*layout)->get(memory, *m, F::m_curg) : g;
}

// The selected goroutine's g, else that of the host's thread; 0: none.
Result<std::uint64_t> current_g(Session& session, Memory& memory, const Here& here) {
  if (!here.moving && session.selection().selected) return session.selection().g;
  if (here.thread_pointer) return running_on(session, memory, *here.thread_pointer);
  auto model = session.model();
  if (!model) return model.error();
  const std::uint32_t i = (*model)->current();
  return i == kNone ? std::uint64_t{0} : (*model)->goroutines()[i].addr;
}

Result<std::uint64_t> g_numbered(Session& session, std::uint64_t goid) {
  auto model = session.model();
  if (!model) return model.error();
  const std::uint32_t i = (*model)->find_goid(goid);
  if (i == kNone) return Error{fmt::format("there is no goroutine {}", goid), {}};
  return (*model)->goroutines()[i].addr;
}

FunctionValue pointer(Session& session, std::uint64_t to, std::string_view type) {
  auto layout = session.layout();
  return {FunctionValue::Kind::pointer, to, layout ? (*layout)->dialect().type_name(type) : std::string("void")};
}

Result<FunctionValue> goid(Session& session, Arguments, const Here& here) {
  Memory fresh(session.target());
  auto g = current_g(session, fresh, here);
  if (!g) return g.error();
  if (!*g) return FunctionValue{};
  auto id = (*session.layout())->get(fresh, *g, F::g_goid);
  if (!id) return id.error();
  return FunctionValue{FunctionValue::Kind::number, *id, {}};
}

Result<FunctionValue> goroutine(Session& session, Arguments arguments, const Here& here) {
  Memory fresh(session.target());
  auto g = arguments.empty() ? current_g(session, fresh, here) : g_numbered(session, arguments[0]);
  if (!g) return g.error();
  if (!*g) return Error{"this thread runs no goroutine", {}};
  return pointer(session, *g, "g");
}

Result<FunctionValue> goroutine_name(Session& session, Arguments arguments, const Here& here) {
  Memory fresh(session.target());
  auto g = arguments.empty() ? current_g(session, fresh, here) : g_numbered(session, arguments[0]);
  if (!g) return g.error();
  FunctionValue out{FunctionValue::Kind::text, 0, {}};
  const Layout& layout = **session.layout();
  if (!*g || !layout.has(F::g_name)) return out;
  auto name = fresh.c_string(*g + layout.place(F::g_name).offset, layout.place(F::g_name).size);
  if (!name) return name.error();
  out.text = std::move(*name);
  return out;
}

Result<FunctionValue> mspan(Session& session, Arguments arguments, const Here&) {
  auto heap = session.heap();
  if (!heap) return heap.error();
  const std::uint32_t i = (*heap)->at_address(arguments[0]);
  if (i == kNone) return Error{fmt::format("{:#x} is in no span of the heap", arguments[0]), arguments[0]};
  return pointer(session, (*heap)->spans()[i].addr, "mspan");
}

Result<FunctionValue> obj(Session& session, Arguments arguments, const Here&) {
  auto heap = session.heap();
  if (!heap) return heap.error();
  auto stacks = session.stacks();
  if (!stacks) return stacks.error();
  Whereabouts w = where_is(**heap, **stacks, arguments[0]);
  if ((w.kind != "object" && w.kind != "runtime_object") || !w.base)
    return Error{fmt::format("{:#x} is in no object of the heap: {}", arguments[0], w.what), arguments[0]};
  return FunctionValue{FunctionValue::Kind::pointer, *w.base, "void"};
}

constexpr FunctionSpec kFunctions[] = {
    {"goid", 0, 0,
     "The id of the selected goroutine, else of the one that the current thread runs; 0: it runs none.\n\n"
     "Cheap enough for a condition:\n"
     "  break handle if $goid() == 17\n",
     goid},
    {"goroutine", 0, 1,
     "The g of goroutine N, a pointer; without N of the selected or running one. There must be one.\n\n"
     "Example:\n"
     "  print $goroutine(17)->waitreason\n"
     "  watch -location $goroutine(17)->atomicstatus\n",
     goroutine},
    {"goroutine_name", 0, 1,
     "The name of goroutine N, a text; without N of the selected or running one; \"\": it has none.\n\n"
     "Example:\n"
     "  break handle if $_streq($goroutine_name(), \"reader\")\n",
     goroutine_name},
    {"mspan", 1, 1,
     "The span of the heap that an address is in, a pointer. There must be one.\n\n"
     "Example:\n"
     "  print $mspan(p)->elemsize\n",
     mspan},
    {"obj", 1, 1,
     "Where the object of the heap begins that an address is in, a pointer. There must be one.\n\n"
     "Example: how far into its object a pointer points\n"
     "  print (char*)p - (char*)$obj(p)\n",
     obj},
};

}  // namespace

std::span<const FunctionSpec> function_table() { return kFunctions; }

Result<FunctionValue> call_function(Session& session, std::string_view name, Arguments arguments, const Here& here) {
  for (const FunctionSpec& f : kFunctions) {
    if (name != f.name) continue;
    if (arguments.size() < f.least || arguments.size() > f.most) {
      return Error{f.most == 0         ? fmt::format("{} takes no argument", name)
                   : f.least == f.most ? fmt::format("{} takes one argument", name)
                                       : fmt::format("{} takes one argument or none", name),
                   {}};
    }
    if (auto layout = session.layout(); !layout) return layout.error();
    return f.call(session, arguments, here);
  }
  std::string all;
  for (const FunctionSpec& f : kFunctions) all += (all.empty() ? "" : ", ") + std::string(f.name);
  return Error{fmt::format("there is no function '{}'; there are: {}", name, all), {}};
}

}  // namespace vitrine::inspect
