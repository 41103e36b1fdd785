#include "base/civil_date.h"

namespace caravel {

int64_t days_from_civil(int64_t y, int m, int d) {  // the year begins in March: leap days come last
  y -= m <= 2;
  const int64_t era = (y >= 0 ? y : y - 399) / 400, year = y - era * 400;
  const int64_t day = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
  return era * 146097 + year * 365 + year / 4 - year / 100 + day - 719468;
}

CivilDate civil_from_days(int64_t z) {
  z += 719468;
  const int64_t era = (z >= 0 ? z : z - 146096) / 146097, doe = z - era * 146097;
  const int64_t year = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365, day = doe - (365 * year + year / 4 - year / 100);
  const int64_t m = (5 * day + 2) / 153;
  CivilDate out;
  out.day = static_cast<int>(day - (153 * m + 2) / 5 + 1);
  out.month = static_cast<int>(m < 10 ? m + 3 : m - 9);
  out.year = year + era * 400 + (out.month <= 2);
  return out;
}

int weekday_of(int64_t days) { return static_cast<int>(((days + 4) % 7 + 7) % 7); }  // 1970-01-01 was a Thursday

}  // namespace caravel
