/* EPT tables as an audit reads them: the rules of the SDM alone, nothing of ept.c. Pure. */
#pragma once
#include "lib/table_walk.h"

/* Rights are EPT_R, EPT_W and EPT_X. */
extern const struct table_format ept_table_format;
