#pragma once
namespace vitrine::inspect {
class Layout {};
}
