/* The EFI loader's reading of trefoil.elf: any bytes; what is accepted is loaded, and lies inside what was promised. */
#include <stdlib.h>

#include "boot/efi/image.h"
#include <tf/string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image image;
	const char *why;
	uint8_t *to;

	if (image_check(data, size, &image, &why) != TF_OK) {
		if (!why)
			abort();
		return 0;
	}
	if (image.size > IMAGE_SIZE_MAX || image.entry >= image.size || image.align < PAGE_SIZE || image.link + image.size > GiB(4))
		abort();
	if (image.size > MiB(1))
		return 0;
	to = malloc(image.size);
	image_load(data, &image, to);
	free(to);
	return 0;
}
