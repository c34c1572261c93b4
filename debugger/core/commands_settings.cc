// commands_settings.cc: vitrine set, vitrine show, vitrine value.
#include <fmt/format.h>

#include "commands.h"
#include "expressions.h"
#include "functions.h"
#include "render.h"
#include "settings.h"

namespace vitrine::inspect {
namespace {

std::string shown(const SettingSpec& s) { return fmt::format("{:<13} {:<10} {}\n", s.name, value_text(s), s.summary); }

Outcome run_show(Session&, const Line& line, std::size_t first, Sink& sink) {
  if (line.error) return fail(sink, *line.error);
  if (line.words.size() > first + 1) return fail(sink, "vitrine show [NAME]: one name, or none for all");
  if (line.words.size() == first) {
    for (const SettingSpec& s : setting_table()) sink.out(shown(s));
    return Outcome::ok;
  }
  std::string problem;
  const SettingSpec* s = find_setting(line.words[first].text, problem);
  if (!s) return fail(sink, problem);
  sink.out(shown(*s));
  return Outcome::ok;
}

Outcome run_set(Session& session, const Line& line, std::size_t first, Sink& sink) {
  if (line.error) return fail(sink, *line.error);
  if (line.words.size() != first + 2) return fail(sink, "vitrine set NAME VALUE; vitrine show lists the names");
  std::string problem;
  const SettingSpec* s = find_setting(line.words[first].text, problem);
  if (!s) return fail(sink, problem);
  if (auto ok = set_setting(*s, line.words[first + 1].text); !ok) return fail(sink, ok.error());
  if (!session.host_has_frames)
    sink.err("a setting lasts as long as the inspector runs, and this one ends here: give options to a command");
  return Outcome::ok;
}

void complete_show(Session&, const Line& line, std::size_t first, std::string_view partial, const Complete& offer) {
  if (line.words.size() != first) return;
  for (const SettingSpec& s : setting_table()) {
    if (s.name.starts_with(partial)) offer(s.name);
  }
}
void complete_set(Session& session, const Line& line, std::size_t first, std::string_view partial,
                  const Complete& offer) {
  complete_show(session, line, first, partial, offer);
  if (line.words.size() != first + 1) return;
  std::string problem;
  const SettingSpec* s = find_setting(line.words[first].text, problem);
  if (!s) return;
  for (std::string_view word : {"on", "off", "unlimited"}) {
    if ((word == "unlimited") == (s->kind == SettingSpec::Kind::number) && word.starts_with(partial)) offer(word);
  }
}

std::string help_of_functions() {
  std::string all =
      "vitrine value NAME [ARGUMENT…]\n\n"
      "What gdb has as $NAME(ARGUMENT…) in every expression. An argument is a number, an address or an expression of "
      "the\n"
      "debugger's that means one. A pointer is shown with its type, so that it can be taken into an expression.\n\n";
  for (const FunctionSpec& f : function_table()) {
    std::string_view text = f.help;
    all += fmt::format("  {:<15} {}\n", f.name, text.substr(0, text.find('\n')));
  }
  return all +
         "\nExample:\n"
         "  vitrine value goroutine 17\n"
         "Next, in LLDB: expr ((vitrine::rt::g*)0x7ffff7d01000)->waitreason\n";
}

Outcome run_value(Session& session, const Line& line, std::size_t first, Sink& sink) {
  if (line.error) return fail(sink, *line.error);
  if (line.words.size() == first) return fail(sink, "vitrine value NAME [ARGUMENT…]: which? (vitrine help value)");
  if (!session.has_target()) return fail(sink, "there is no program: nothing to inspect");
  std::vector<std::uint64_t> arguments;
  for (std::size_t i = first + 1; i < line.words.size(); ++i) {
    const Word& word = line.words[i];
    auto at = address_of(session, word.quoted ? std::string_view(word.text)
                                              : std::string_view(line.raw).substr(word.begin, word.end - word.begin));
    if (!at) return fail(sink, at.error());
    arguments.push_back(at->value);
  }
  auto value = call_function(session, line.words[first].text, arguments, {});
  if (!value) return fail(sink, value.error());
  switch (value->kind) {
    case FunctionValue::Kind::number:
      sink.out(fmt::format("{}\n", value->number));
      break;
    case FunctionValue::Kind::pointer:
      sink.out(fmt::format("({} *) {:#x}\n", value->text, value->number));
      break;
    case FunctionValue::Kind::text:
      sink.out(fmt::format("\"{}\"\n", printable(value->text)));
      break;
  }
  return Outcome::ok;
}

void complete_value(Session&, const Line& line, std::size_t first, std::string_view partial, const Complete& offer) {
  if (line.words.size() != first) return;
  for (const FunctionSpec& f : function_table()) {
    if (std::string_view(f.name).starts_with(partial)) offer(f.name);
  }
}

}  // namespace

std::span<const CommandSpec> settings_commands() {
  static const std::string value_help = help_of_functions();
  static const CommandSpec all[] = {
      {"vitrine set", "Set something for all commands.",
       "vitrine set NAME VALUE\n\n"
       "In gdb `set vitrine NAME VALUE` is the same. VALUE is a number or `unlimited`, on or off; vitrine show lists "
       "the\n"
       "names, what they are now, and what they mean. Good in a debugger's start file, behind the line that loads "
       "this.\n\n"
       "Example: longer lists\n"
       "  vitrine set limit 500\n",
       run_set, complete_set},
      {"vitrine show", "What is set for all commands.",
       "vitrine show [NAME]\n\n"
       "Without a name: all settings, one a line: its name, its value, what it is. In gdb `show vitrine` is the "
       "same.\n\n"
       "Example:\n"
       "  vitrine show limit\n",
       run_show, complete_show},
      {"vitrine value", "A goroutine's g, an address's span, …: what can stand in an expression.", value_help.c_str(),
       run_value, complete_value},
  };
  return all;
}

}  // namespace vitrine::inspect
