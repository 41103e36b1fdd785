// Dates of the proleptic Gregorian calendar as days since 1970-01-01, and back.
#pragma once

#include <cstdint>

namespace caravel {

struct CivilDate {
  int64_t year;
  int month, day;  // from 1
};
int64_t days_from_civil(int64_t year, int month, int day);
CivilDate civil_from_days(int64_t days);
// 0 is Sunday.
int weekday_of(int64_t days);

}  // namespace caravel
