// vitrine_select.cc: select over many channels.
#include <array>

#include "vitrine_bench.h"

namespace sched_bench {
namespace {

template <std::size_t... I>
void receive(const std::array<vitrine::chan<std::int64_t>, sizeof...(I)>& c, std::index_sequence<I...>) {
  vitrine::select(vitrine::on_recv(c[I], [](std::optional<std::int64_t>) {})...);
}

template <std::size_t... I>
void look(const std::array<vitrine::chan<std::int64_t>, sizeof...(I)>& c, std::index_sequence<I...>) {
  vitrine::select(vitrine::on_recv(c[I], [](std::optional<std::int64_t>) {})..., vitrine::otherwise());
}

template <std::size_t N>
void add(table& t) {
  t.push_back({"select/" + std::to_string(N), [](double seconds) {
                 return grow(seconds, 1, [](std::int64_t n) {
                   std::array<vitrine::chan<std::int64_t>, N> c;
                   vitrine::wait_group sender;
                   sender.go([&] {
                     for (std::int64_t i = 0; i < n; i++) c[std::size_t(i) % N].send(i);
                   });
                   for (std::int64_t i = 0; i < n; i++) receive(c, std::make_index_sequence<N>());
                   sender.wait();
                 });
               }});
  t.push_back({"select_default/" + std::to_string(N), [](double seconds) {
                 return grow(seconds, 1, [](std::int64_t n) {
                   std::array<vitrine::chan<std::int64_t>, N> c;
                   for (std::int64_t i = 0; i < n; i++) look(c, std::make_index_sequence<N>());
                 });
               }});
}

}  // namespace

void add_select(table& t) {
  add<2>(t);
  add<8>(t);
  add<64>(t);
}

}  // namespace sched_bench
