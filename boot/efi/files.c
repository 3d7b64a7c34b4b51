/* Reading files whole (UEFI Specification, "File Protocol"). */
#include "boot/efi/loader.h"
#include <tf/string.h>

#define DIRECTORY  "\\trefoil\\"
#define READ_CHUNK MiB(1) /* some firmware fails on reads of many megabytes at once */
#define SEEK_END   UINT64_MAX

static EFI_FILE_HANDLE root;

EFI_STATUS files_open(void)
{
	EFI_GUID image_guid = EFI_LOADED_IMAGE_PROTOCOL_GUID, fs_guid = EFI_SIMPLE_FILE_SYSTEM_PROTOCOL_GUID;
	EFI_LOADED_IMAGE *self;
	EFI_FILE_IO_INTERFACE *fs;
	EFI_STATUS status;

	status = loader_boot->HandleProtocol(loader_handle, &image_guid, (void **)&self);
	if (!EFI_ERROR(status) && !self->DeviceHandle)
		status = EFI_NOT_FOUND;
	if (!EFI_ERROR(status))
		status = loader_boot->HandleProtocol(self->DeviceHandle, &fs_guid, (void **)&fs);
	if (!EFI_ERROR(status))
		status = fs->OpenVolume(fs, &root);
	if (EFI_ERROR(status))
		say("error: cannot open the volume that this loader was loaded from: %s", status_text(status));
	return status;
}

void files_close(void)
{
	if (root)
		(void)root->Close(root);
	root = NULL;
}

/* DIRECTORY and the name, '/' as '\'; false if it is too long. */
static bool path_of(const char *name, CHAR16 *out, size_t max)
{
	size_t n = 0;

	for (const char *p = DIRECTORY; *p; p++)
		out[n++] = (CHAR16)*p;
	while (*name == '/')
		name++;
	for (; *name && n < max; name++)
		out[n++] = *name == '/' ? '\\' : (uint8_t)*name;
	if (n == max)
		return false;
	out[n] = 0;
	return true;
}

static EFI_STATUS read_all(EFI_FILE_HANDLE f, const char *name, struct file *out)
{
	EFI_STATUS status = EFI_SUCCESS;
	uint64_t done = 0;

	while (done < out->size) {
		UINTN n = MIN(out->size - done, READ_CHUNK);

		status = f->Read(f, &n, out->data + done);
		if (EFI_ERROR(status) || !n)
			break;
		done += n;
	}
	if (EFI_ERROR(status)) {
		say("error: " DIRECTORY "%s: cannot read it behind byte %lu: %s", name, done, status_text(status));
	} else if (done < out->size) {
		say("error: " DIRECTORY "%s: short read, %lu of %lu bytes", name, done, out->size);
		status = EFI_END_OF_FILE;
	}
	return status;
}

EFI_STATUS file_read(const char *name, uint64_t max, struct file *out, bool *missing)
{
	CHAR16 path[VM_PATH_MAX + sizeof(DIRECTORY)];
	EFI_FILE_HANDLE f;
	EFI_STATUS status;

	*out = (struct file){ 0 };
	status = path_of(name, path, ARRAY_SIZE(path) - 1) ? root->Open(root, &f, path, EFI_FILE_MODE_READ, 0)
							   : EFI_NOT_FOUND;
	if (missing)
		*missing = status == EFI_NOT_FOUND;
	if (EFI_ERROR(status)) {
		if (!missing || !*missing)
			say("error: cannot open " DIRECTORY "%s: %s", name, status_text(status));
		return status;
	}
	/* A directory refuses this. */
	status = f->SetPosition(f, SEEK_END);
	if (!EFI_ERROR(status))
		status = f->GetPosition(f, &out->size);
	if (!EFI_ERROR(status))
		status = f->SetPosition(f, 0);
	if (EFI_ERROR(status)) {
		say("error: cannot read " DIRECTORY "%s: %s", name, status_text(status));
	} else if (out->size > max) {
		say("error: " DIRECTORY "%s: %lu bytes are too many, at most %lu", name, out->size, max);
		status = EFI_BAD_BUFFER_SIZE;
	} else if (!(out->data = pages_alloc(EfiLoaderData, out->size))) {
		say("error: " DIRECTORY "%s: no free memory below 4 GiB for its %lu bytes", name, out->size);
		status = EFI_OUT_OF_RESOURCES;
	} else {
		status = read_all(f, name, out);
	}
	(void)f->Close(f);
	if (EFI_ERROR(status))
		file_free(out);
	return status;
}

void file_free(struct file *file)
{
	pages_free(file->data, file->size);
	*file = (struct file){ 0 };
}
