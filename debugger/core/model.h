#pragma once
namespace vitrine::inspect {
class Model {};
}
