// `caravel dns` and `caravel vpc-dns`
#pragma once

#include "base/command.h"

namespace caravel::dns {

extern const Command kDnsCommand;
extern const Command kVpcDnsCommand;

}  // namespace caravel::dns
