/* The INI reader: one line at a time, nothing carried over from one line to the next. */
#include "lib/ini.h"
#include <tf/string.h>

#define TEXT_OF(n) TEXT_OF_(n)
#define TEXT_OF_(n) #n

struct span { const char *s; size_t n; };

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool is_comment(char c)
{
	return c == '#' || c == ';';
}

static bool is_name(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '-' || c == '.';
}

static struct span span_from(struct span t, size_t at)
{
	return (struct span){ t.s + at, t.n - at };
}

static struct span trim(struct span t)
{
	while (t.n && is_blank(t.s[0]))
		t = span_from(t, 1);
	while (t.n && is_blank(t.s[t.n - 1]))
		t.n--;
	return t;
}

/* A comment starts a line, or follows white space. */
static struct span cut_comment(struct span t)
{
	for (size_t i = 0; i < t.n; i++) {
		if (is_comment(t.s[i]) && (i == 0 || is_blank(t.s[i - 1])))
			t.n = i;
	}
	return t;
}

static bool only_comment(struct span t)
{
	return trim(cut_comment(t)).n == 0;
}

static struct span next_line(struct ini *p)
{
	struct span line = { p->text + p->at, 0 };
	const char *end = memchr(line.s, '\n', p->len - p->at);

	line.n = end ? (size_t)(end - line.s) : p->len - p->at;
	p->at += line.n + (end ? 1 : 0);
	p->line++;
	if (line.n && line.s[line.n - 1] == '\r')
		line.n--;
	return line;
}

static void error(struct ini_event *ev, const char *expected)
{
	ev->kind = INI_ERROR;
	(void)tf_strcpy(ev->value, expected, sizeof(ev->value));
}

static void parse_section(struct span t, struct ini_event *ev)
{
	const char *close = memchr(t.s, ']', t.n);
	struct span inner, rest;
	size_t n = 0;

	if (!close || !only_comment(span_from(t, (size_t)(close - t.s) + 1))) {
		error(ev, "a section as [name] or [kind name], alone on its line");
		return;
	}
	inner = trim((struct span){ t.s + 1, (size_t)(close - t.s) - 1 });
	while (n < inner.n && is_name(inner.s[n]))
		n++;
	rest = span_from(inner, n);
	if (!n || n >= INI_NAME_MAX || (rest.n && !is_blank(rest.s[0]))) {
		error(ev, "a section name of letters, digits, '_', '-' or '.' inside the brackets");
		return;
	}
	rest = trim(rest);
	if (!tf_strncpy(ev->value, rest.s, rest.n, sizeof(ev->value))) {
		error(ev, "a shorter section name");
		return;
	}
	(void)tf_strncpy(ev->name, inner.s, n, sizeof(ev->name));
	ev->kind = INI_SECTION;
}

static void parse_value(struct span t, struct ini_event *ev)
{
	const char *close;

	t = trim(t);
	if (t.n && t.s[0] == '"') {
		t = span_from(t, 1);
		close = memchr(t.s, '"', t.n);
		if (!close || !only_comment(span_from(t, (size_t)(close - t.s) + 1))) {
			error(ev, "a closing double quote, and nothing but a comment after it");
			return;
		}
		t.n = (size_t)(close - t.s);
	} else {
		t = trim(cut_comment(t));
	}
	if (t.n >= INI_VALUE_MAX) {
		error(ev, "a value shorter than " TEXT_OF(INI_VALUE_MAX) " bytes");
		return;
	}
	(void)tf_strncpy(ev->value, t.s, t.n, sizeof(ev->value));
	ev->kind = INI_KEY;
}

static void parse_key(struct span t, struct ini_event *ev)
{
	size_t n = 0;

	while (n < t.n && is_name(t.s[n]))
		n++;
	if (!n || n >= INI_NAME_MAX) {
		error(ev, "[section], key = value, or a comment");
		return;
	}
	(void)tf_strncpy(ev->name, t.s, n, sizeof(ev->name));
	t = trim(span_from(t, n));
	if (!t.n || t.s[0] != '=') {
		error(ev, "'=' after the key");
		return;
	}
	parse_value(span_from(t, 1), ev);
}

/* Tabs and bytes from 80h (UTF-8) are text, other control characters are not. */
static bool is_text(struct span t)
{
	for (size_t i = 0; i < t.n; i++) {
		uint8_t c = (uint8_t)t.s[i];

		if ((c < ' ' && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

void ini_init(struct ini *p, const char *text, size_t len)
{
	static const char bom[] = "\xef\xbb\xbf"; /* some editors start UTF-8 files with it */
	size_t skip = len >= sizeof(bom) - 1 && !memcmp(text, bom, sizeof(bom) - 1) ? sizeof(bom) - 1 : 0;

	*p = (struct ini){ .text = text, .len = len, .at = skip };
}

void ini_next(struct ini *p, struct ini_event *ev)
{
	ev->name[0] = ev->value[0] = '\0';
	while (p->at < p->len) {
		struct span line = next_line(p), t = trim(line);

		ev->line = p->line;
		if (!t.n)
			continue;
		if (!is_text(line))
			error(ev, "text without control characters");
		else if (is_comment(t.s[0]))
			continue;
		else if (t.s[0] == '[')
			parse_section(t, ev);
		else
			parse_key(t, ev);
		if (ev->kind == INI_ERROR && t.s[0] == '[')
			(void)tf_strcpy(ev->name, "[", sizeof(ev->name));
		return;
	}
	ev->line = p->line;
	ev->kind = INI_END;
}
