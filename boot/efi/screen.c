/* Which framebuffer the hypervisor gets: the mode that is on, raised only where it is too small to read a log. */
#include "boot/efi/loader.h"
#include "boot/efi/pixels.h"
#include <tf/string.h>

#define WIDTH_MIN   800
#define HEIGHT_MIN  600
#define WIDTH_WANTED  1024
#define HEIGHT_WANTED 768

_Static_assert((int)PIXEL_RGBX == (int)PixelRedGreenBlueReserved8BitPerColor && (int)PIXEL_BIT_MASK == (int)PixelBitMask &&
	       (int)PIXEL_BGRX == (int)PixelBlueGreenRedReserved8BitPerColor && (int)PIXEL_BLT_ONLY == (int)PixelBltOnly,
	       "as in the UEFI Specification");

static struct pixel_mode mode_of(const EFI_GRAPHICS_OUTPUT_MODE_INFORMATION *info, uint64_t base, uint64_t size)
{
	return (struct pixel_mode){
		.width = info->HorizontalResolution, .height = info->VerticalResolution,
		.pixels_per_line = info->PixelsPerScanLine, .format = info->PixelFormat,
		.red = info->PixelInformation.RedMask, .green = info->PixelInformation.GreenMask,
		.blue = info->PixelInformation.BlueMask, .reserved = info->PixelInformation.ReservedMask,
		.base = base, .size = size,
	};
}

static bool current(const EFI_GRAPHICS_OUTPUT_PROTOCOL *gop, struct boot_screen *out)
{
	struct pixel_mode mode;

	memset(out, 0, sizeof(*out));
	if (!gop->Mode || !gop->Mode->Info)
		return false;
	mode = mode_of(gop->Mode->Info, gop->Mode->FrameBufferBase, gop->Mode->FrameBufferSize);
	return pixels_screen(&mode, out);
}

/* The largest mode with a framebuffer up to the wanted size; false if there is none above the minimum. */
static bool better_mode(EFI_GRAPHICS_OUTPUT_PROTOCOL *gop, UINT32 *best)
{
	uint64_t area = 0;

	for (UINT32 i = 0; i < gop->Mode->MaxMode; i++) {
		EFI_GRAPHICS_OUTPUT_MODE_INFORMATION *info;
		uint64_t width, height;
		UINTN size;

		if (EFI_ERROR(gop->QueryMode(gop, i, &size, &info)))
			continue;
		width = info->HorizontalResolution;
		height = info->VerticalResolution;
		if (info->PixelFormat < PixelBltOnly && width >= WIDTH_MIN && height >= HEIGHT_MIN &&
		    width <= WIDTH_WANTED && height <= HEIGHT_WANTED && width * height > area) {
			area = width * height;
			*best = i;
		}
		(void)loader_boot->FreePool(info);
	}
	return area != 0;
}

void screen_find(struct boot_screen *out)
{
	EFI_GUID guid = EFI_GRAPHICS_OUTPUT_PROTOCOL_GUID;
	EFI_GRAPHICS_OUTPUT_PROTOCOL *gop = NULL;
	EFI_HANDLE *handles;
	UINTN n = 0;
	UINT32 mode;

	/* The console's own is first asked, but it may be one of several screens' that has no framebuffer. */
	if (loader_system->ConsoleOutHandle &&
	    !EFI_ERROR(loader_boot->HandleProtocol(loader_system->ConsoleOutHandle, &guid, (void **)&gop)) && !current(gop, out))
		gop = NULL;
	if (!gop && !EFI_ERROR(loader_boot->LocateHandleBuffer(ByProtocol, &guid, NULL, &n, &handles))) {
		for (UINTN i = 0; i < n && !gop; i++) {
			if (!EFI_ERROR(loader_boot->HandleProtocol(handles[i], &guid, (void **)&gop)) && !current(gop, out))
				gop = NULL;
		}
		(void)loader_boot->FreePool(handles);
	}
	if (!gop) {
		memset(out, 0, sizeof(*out));
		say("no graphics framebuffer: the hypervisor will speak on the serial line only");
		return;
	}
	if ((out->width < WIDTH_MIN || out->height < HEIGHT_MIN) && better_mode(gop, &mode)) {
		(void)gop->SetMode(gop, mode);
		(void)current(gop, out);
	}
}
