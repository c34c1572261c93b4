// caller.h: a sink that notes whether all came on the thread that made it.
#pragma once
#include <string>
#include <string_view>
#include <thread>

#include "session.h"

namespace vitrine::inspect {

class Caller : public Sink {
 public:
  std::string text;
  bool elsewhere = false;
  void out(std::string_view piece) override {
    elsewhere = elsewhere || std::this_thread::get_id() != self_;
    text += piece;
  }
  void err(std::string_view) override { elsewhere = elsewhere || std::this_thread::get_id() != self_; }

 private:
  std::thread::id self_ = std::this_thread::get_id();
};

}  // namespace vitrine::inspect
