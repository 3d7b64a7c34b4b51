/*
 * An EFI application that makes the machine what newer firmware leaves behind - 5-level paging, PCIDs, protection keys, as
 * far as the CPU has them - and then starts the loader beside it: \EFI\BOOT\LOADER.EFI. While that leaves boot services,
 * the memory map changes; where it comes back instead, what it has left behind is counted.
 */
#include <efi.h>

#define CR4_LA57  (1ull << 12)
#define CR4_PCIDE (1ull << 17)
#define CR4_PKE   (1ull << 22)
#define CPUID_1_ECX_PCID (1u << 17)
#define CPUID_7_ECX_PKU  (1u << 3)
#define CPUID_7_ECX_LA57 (1u << 16)
#define PTES      512
#define PTE_P_W   3ull
#define BELOW     0xffffffffull
#define MAP_MAX   65536
#define PATH      L"\\EFI\\BOOT\\LOADER.EFI"

/* future.asm */
void paging5_on(UINT64 pml5);
UINT64 cr3_read(void);
UINT64 cr4_read(void);
void cr4_write(UINT64 value);
UINT32 cpuid7_ecx(void);
UINT32 cpuid1_ecx(void);

EFI_STATUS efi_main(EFI_HANDLE handle, EFI_SYSTEM_TABLE *system);

static EFI_SYSTEM_TABLE *firmware;
static EFI_EXIT_BOOT_SERVICES exit_boot_services;

static void say(EFI_SYSTEM_TABLE *system, const CHAR16 *text)
{
	system->ConOut->OutputString(system->ConOut, (CHAR16 *)text);
}

static void make_future(EFI_SYSTEM_TABLE *system)
{
	UINT32 ecx7 = cpuid7_ecx();
	EFI_PHYSICAL_ADDRESS pml5 = BELOW;

	if ((ecx7 & CPUID_7_ECX_LA57) && !(cr4_read() & CR4_LA57) &&
	    system->BootServices->AllocatePages(AllocateMaxAddress, EfiBootServicesData, 1, &pml5) == EFI_SUCCESS) {
		for (unsigned i = 0; i < PTES; i++)
			((UINT64 *)pml5)[i] = i ? 0 : cr3_read() | PTE_P_W;
		paging5_on(pml5);
		say(system, L"future: la57\r\n");
	}
	if (cpuid1_ecx() & CPUID_1_ECX_PCID) {
		cr4_write(cr4_read() | CR4_PCIDE);
		say(system, L"future: pcide\r\n");
	}
	if (ecx7 & CPUID_7_ECX_PKU) {
		cr4_write(cr4_read() | CR4_PKE);
		say(system, L"future: pke\r\n");
	}
}

/* As if an event had run since the caller took the map. */
static EFI_STATUS EFIAPI exit_with_an_old_key(EFI_HANDLE handle, UINTN key)
{
	static BOOLEAN changed;
	EFI_PHYSICAL_ADDRESS page;

	if (!changed && firmware->BootServices->AllocatePages(AllocateAnyPages, EfiRuntimeServicesData, 1, &page) == EFI_SUCCESS) {
		changed = TRUE;
		say(firmware, L"future: the memory map has changed\r\n");
	}
	return exit_boot_services(handle, key);
}

/* How many pages applications have. */
static UINT64 loader_pages(EFI_SYSTEM_TABLE *system)
{
	static UINT8 map[MAP_MAX];
	UINTN size = sizeof(map), key, step;
	UINT32 version;
	UINT64 pages = 0;

	if (system->BootServices->GetMemoryMap(&size, (EFI_MEMORY_DESCRIPTOR *)map, &key, &step, &version) != EFI_SUCCESS)
		return 0;
	for (UINTN at = 0; at < size; at += step) {
		const EFI_MEMORY_DESCRIPTOR *d = (const EFI_MEMORY_DESCRIPTOR *)(map + at);

		if (d->Type == EfiLoaderCode || d->Type == EfiLoaderData)
			pages += d->NumberOfPages;
	}
	return pages;
}

/* The device path of PATH on the volume that this application is from. */
static EFI_DEVICE_PATH *path_of(EFI_SYSTEM_TABLE *system, EFI_HANDLE volume)
{
	EFI_GUID guid = EFI_DEVICE_PATH_PROTOCOL_GUID;
	static const CHAR16 name[] = PATH;
	EFI_DEVICE_PATH *volume_path, *node;
	FILEPATH_DEVICE_PATH *file;
	UINTN length = 0;
	UINT8 *out;

	if (system->BootServices->HandleProtocol(volume, &guid, (void **)&volume_path) != EFI_SUCCESS)
		return NULL;
	for (node = volume_path; !IsDevicePathEnd(node); node = NextDevicePathNode(node))
		length += DevicePathNodeLength(node);
	if (system->BootServices->AllocatePool(EfiLoaderData, length + SIZE_OF_FILEPATH_DEVICE_PATH + sizeof(name) + 4,
					       (void **)&out) != EFI_SUCCESS)
		return NULL;
	for (UINTN i = 0; i < length; i++)
		out[i] = ((UINT8 *)volume_path)[i];
	file = (FILEPATH_DEVICE_PATH *)(out + length);
	file->Header.Type = MEDIA_DEVICE_PATH;
	file->Header.SubType = MEDIA_FILEPATH_DP;
	SetDevicePathNodeLength(&file->Header, SIZE_OF_FILEPATH_DEVICE_PATH + sizeof(name));
	for (UINTN i = 0; i < sizeof(name) / sizeof(name[0]); i++)
		file->PathName[i] = name[i];
	SetDevicePathEndNode(NextDevicePathNode(&file->Header));
	return (EFI_DEVICE_PATH *)out;
}

EFI_STATUS efi_main(EFI_HANDLE handle, EFI_SYSTEM_TABLE *system)
{
	EFI_GUID guid = EFI_LOADED_IMAGE_PROTOCOL_GUID;
	EFI_LOADED_IMAGE *self;
	EFI_DEVICE_PATH *path;
	EFI_HANDLE loader;
	EFI_STATUS status;
	UINT64 before;

	status = system->BootServices->HandleProtocol(handle, &guid, (void **)&self);
	if (status != EFI_SUCCESS)
		return status;
	path = path_of(system, self->DeviceHandle);
	if (!path)
		return EFI_OUT_OF_RESOURCES;
	before = loader_pages(system);
	status = system->BootServices->LoadImage(FALSE, handle, path, NULL, 0, &loader);
	if (status != EFI_SUCCESS)
		return status;
	make_future(system);
	firmware = system;
	exit_boot_services = system->BootServices->ExitBootServices;
	system->BootServices->ExitBootServices = exit_with_an_old_key;
	status = system->BootServices->StartImage(loader, NULL, NULL);
	system->BootServices->ExitBootServices = exit_boot_services;
	say(system, loader_pages(system) > before ? L"future: memory is left\r\n" : L"future: all memory is back\r\n");
	return status;
}
