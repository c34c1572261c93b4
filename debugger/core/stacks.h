#pragma once
namespace vitrine::inspect {
class Stacks {};
}
