/*
 * An EFI application that makes the machine what newer firmware leaves behind - 5-level paging, PCIDs, protection keys, as
 * far as the CPU has them - and then starts the loader beside it: \EFI\BOOT\LOADER.EFI.
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
#define PATH      L"\\EFI\\BOOT\\LOADER.EFI"

/* future.asm */
void paging5_on(UINT64 pml5);
UINT64 cr3_read(void);
UINT64 cr4_read(void);
void cr4_write(UINT64 value);
UINT32 cpuid7_ecx(void);
UINT32 cpuid1_ecx(void);

EFI_STATUS efi_main(EFI_HANDLE handle, EFI_SYSTEM_TABLE *system);

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

	status = system->BootServices->HandleProtocol(handle, &guid, (void **)&self);
	if (status != EFI_SUCCESS)
		return status;
	path = path_of(system, self->DeviceHandle);
	if (!path)
		return EFI_OUT_OF_RESOURCES;
	status = system->BootServices->LoadImage(FALSE, handle, path, NULL, 0, &loader);
	if (status != EFI_SUCCESS)
		return status;
	make_future(system);
	return system->BootServices->StartImage(loader, NULL, NULL);
}
