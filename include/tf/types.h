/* The types every room shares. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Address kinds are types of their own, so that the compiler refuses a mix-up. */
typedef struct { uint64_t v; } hpa_t; /* host-physical */
typedef struct { uint64_t v; } gpa_t; /* guest-physical */
#define HPA(x) ((hpa_t){ (x) })
#define GPA(x) ((gpa_t){ (x) })

#define BIT(n)          (1ull << (n))
#define KiB(n)          ((uint64_t)(n) << 10)
#define MiB(n)          ((uint64_t)(n) << 20)
#define GiB(n)          ((uint64_t)(n) << 30)
#define PAGE_SHIFT      12
#define PAGE_SIZE       4096ull
#define ARRAY_SIZE(a)   (sizeof(a) / sizeof((a)[0]))
#define ALIGN_DOWN(x, a) ((x) & ~((__typeof__(x))(a) - 1))
#define ALIGN_UP(x, a)  ALIGN_DOWN((x) + ((__typeof__(x))(a) - 1), a)
#define IS_ALIGNED(x, a) (((x) & ((__typeof__(x))(a) - 1)) == 0)
#define MIN(a, b) ({ __auto_type a_ = (a); __auto_type b_ = (b); a_ < b_ ? a_ : b_; })
#define MAX(a, b) ({ __auto_type a_ = (a); __auto_type b_ = (b); a_ > b_ ? a_ : b_; })
#define container_of(p, type, member) ((type *)((char *)(p) - offsetof(type, member)))

#define likely(x)       __builtin_expect(!!(x), 1)
#define unlikely(x)     __builtin_expect(!!(x), 0)
#define __must_check    __attribute__((warn_unused_result))
#define __packed        __attribute__((packed))
#define __printf(f, a)  __attribute__((format(printf, f, a)))
#define __noreturn      __attribute__((noreturn))
