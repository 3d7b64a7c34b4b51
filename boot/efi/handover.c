/* Leaving boot services (UEFI Specification, "EFI_BOOT_SERVICES.ExitBootServices()") and starting the hypervisor. */
#include "boot/efi/loader.h"
#include "boot/efi/tags.h"
#include <tf/string.h>

#define LOADER_NAME    "Trefoil EFI loader"
#define TRIES_MAX      16
#define MAP_SLACK      64      /* descriptors: what the firmware does in between splits ranges */
#define TAGS_FIXED     KiB(8)  /* tags of fixed length, with room to spare */
#define TAGS_PER_MODULE (64 + VM_PATH_MAX)
#define RSDP_OLD_SIZE  20
#define RSDP_NEW_SIZE  36
#define CODE_PAGES     1
#define STACK_PAGES    1

#define EFI_MEMORY_XP_  0x4000ull  /* execute-protect, read-only: UEFI Specification, "Memory Attribute Protocol" */
#define EFI_MEMORY_RO_  0x20000ull

struct memory_attribute {
	EFI_STATUS (EFIAPI *get)(struct memory_attribute *, EFI_PHYSICAL_ADDRESS, UINT64 length, UINT64 *attributes);
	EFI_STATUS (EFIAPI *set)(struct memory_attribute *, EFI_PHYSICAL_ADDRESS, UINT64 length, UINT64 attributes);
	EFI_STATUS (EFIAPI *clear)(struct memory_attribute *, EFI_PHYSICAL_ADDRESS, UINT64 length, UINT64 attributes);
};

/* handover.asm; position-independent, shorter than a page. */
extern const uint8_t handover_code[], handover_code_end[];
typedef void __noreturn (*handover_fn)(uint32_t entry, uint32_t boot_information, uint32_t stack_top);

/* Everything that is needed once memory cannot be allocated any more. */
struct room {
	uint8_t *map, *tags;
	size_t map_size, tags_size;
	struct mem_range *ranges;
	uint8_t *code; /* a page of code, then a page of stack */
};

static void free_room(struct room *room)
{
	pages_free(room->map, room->map_size);
	pages_free(room->tags, room->tags_size);
	pages_free(room->ranges, BOOT_MAX_RANGES * sizeof(room->ranges[0]));
	pages_free(room->code, (CODE_PAGES + STACK_PAGES) * PAGE_SIZE);
}

/* Firmware may keep data from being executed and code from being written, whatever type it has. */
static void make_executable(uint8_t *code)
{
	EFI_GUID guid = { 0xf4560cf6, 0x40ec, 0x4b4a, { 0xa1, 0x92, 0xbf, 0x1d, 0x57, 0xd0, 0xb1, 0x89 } };
	struct memory_attribute *protocol;

	if (EFI_ERROR(loader_boot->LocateProtocol(&guid, NULL, (void **)&protocol)))
		return;
	(void)protocol->set(protocol, (uintptr_t)code, CODE_PAGES * PAGE_SIZE, EFI_MEMORY_RO_);
	(void)protocol->clear(protocol, (uintptr_t)code, CODE_PAGES * PAGE_SIZE, EFI_MEMORY_XP_);
}

static bool make_room(struct room *room, const struct handover *h)
{
	UINTN size = 0, key, descriptor_size = sizeof(EFI_MEMORY_DESCRIPTOR);
	UINT32 version;

	(void)loader_boot->GetMemoryMap(&size, NULL, &key, &descriptor_size, &version);
	room->map_size = size + MAP_SLACK * descriptor_size;
	room->tags_size = TAGS_FIXED + h->nmodules * TAGS_PER_MODULE + BOOT_MAX_RANGES * sizeof(struct mem_range) + room->map_size;
	room->map = pages_alloc(EfiLoaderData, room->map_size);
	room->tags = pages_alloc(EfiLoaderData, room->tags_size);
	room->ranges = pages_alloc(EfiLoaderData, BOOT_MAX_RANGES * sizeof(room->ranges[0]));
	room->code = pages_alloc(EfiLoaderCode, (CODE_PAGES + STACK_PAGES) * PAGE_SIZE);
	if (!room->map || !room->tags || !room->ranges || !room->code)
		return false;
	memcpy(room->code, handover_code, (size_t)(handover_code_end - handover_code));
	return true;
}

/* From the configuration table; SMBIOS is there as well, where the hypervisor looks for it. NULL if not there. */
static const void *find_rsdp(const EFI_GUID *guid)
{
	for (UINTN i = 0; i < loader_system->NumberOfTableEntries; i++) {
		const EFI_CONFIGURATION_TABLE *t = &loader_system->ConfigurationTable[i];

		if (!memcmp(&t->VendorGuid, guid, sizeof(*guid)))
			return t->VendorTable;
	}
	return NULL;
}

static bool write_tags(const struct room *room, const struct handover *h, const struct efi_map *map, uint32_t version)
{
	static const EFI_GUID rsdp_old = ACPI_TABLE_GUID, rsdp_new = ACPI_20_TABLE_GUID;
	const void *rsdp;
	struct tags t;
	bool cut;

	tags_begin(&t, room->tags, room->tags_size);
	/* The screen first: then even a refusal of what follows can be shown. */
	tags_screen(&t, &h->screen);
	tags_command_line(&t, "");
	tags_loader_name(&t, LOADER_NAME);
	tags_load_base(&t, h->load_base);
	for (uint32_t i = 0; i < h->nmodules; i++)
		tags_module(&t, h->modules[i].start, h->modules[i].end, h->modules[i].name);
	tags_efi_system_table(&t, (uintptr_t)loader_system);
	rsdp = find_rsdp(&rsdp_old);
	if (rsdp)
		tags_rsdp(&t, false, rsdp, RSDP_OLD_SIZE);
	rsdp = find_rsdp(&rsdp_new);
	if (rsdp)
		tags_rsdp(&t, true, rsdp, RSDP_NEW_SIZE);
	tags_memory_map(&t, room->ranges, efi_map_convert(map, room->ranges, BOOT_MAX_RANGES, &cut));
	tags_efi_map(&t, map, version);
	return tags_end(&t);
}

/* The map as it is now, and its key. */
static EFI_STATUS take_map(const struct room *room, struct efi_map *map, UINTN *key, UINT32 *version)
{
	UINTN size = room->map_size, descriptor_size = 0;
	EFI_STATUS status;

	status = loader_boot->GetMemoryMap(&size, (EFI_MEMORY_DESCRIPTOR *)room->map, key, &descriptor_size, version);
	*map = (struct efi_map){ room->map, size, descriptor_size };
	return status;
}

EFI_STATUS handover_go(const struct handover *h)
{
	struct room room = { 0 };
	struct efi_map map;
	EFI_STATUS status;
	UINT32 version;
	UINTN key;
	bool cut;

	if (!make_room(&room, h)) {
		say("error: no free memory below 4 GiB for the boot information");
		free_room(&room);
		return EFI_OUT_OF_RESOURCES;
	}
	/* Once as a rehearsal, while there is a console to complain on. */
	status = take_map(&room, &map, &key, &version);
	if (!EFI_ERROR(status) && !write_tags(&room, h, &map, version))
		status = EFI_BUFFER_TOO_SMALL;
	if (EFI_ERROR(status)) {
		say("error: cannot describe the memory map: %s", status_text(status));
		free_room(&room);
		return status;
	}
	(void)efi_map_convert(&map, room.ranges, BOOT_MAX_RANGES, &cut);
	if (cut)
		say("warning: more than %u memory ranges; the others are left out", BOOT_MAX_RANGES);
	say("starting the hypervisor");
	/* Last, as a page that cannot be written must not be given back. */
	make_executable(room.code);

	/* Events that still run may change the map: then the key is old. Between the tries only GetMemoryMap is allowed. */
	for (unsigned i = 0; i < TRIES_MAX; i++) {
		status = take_map(&room, &map, &key, &version);
		if (EFI_ERROR(status))
			break;
		status = loader_boot->ExitBootServices(loader_handle, key);
		if (status != EFI_INVALID_PARAMETER)
			break;
	}
	if (EFI_ERROR(status)) {
		say("error: the firmware does not let boot services end: %s", status_text(status));
		return status;
	}
	/* It fits: the room is that of the rehearsal, and a longer map would not have fitted in its own. */
	(void)write_tags(&room, h, &map, version);
	((handover_fn)(uintptr_t)room.code)(h->entry, (uint32_t)(uintptr_t)room.tags,
					    (uint32_t)(uintptr_t)room.code + (CODE_PAGES + STACK_PAGES) * (uint32_t)PAGE_SIZE);
}
