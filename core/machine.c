#include "core/machine.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/paging.h"
#include "drivers/smbios.h"
#include <tf/log.h>
#include <tf/string.h>

#define SMBIOS_AREA 0xf0000
#define SMBIOS_LEN  0x10000
/* SDM 2A, "CPUID": the brand string is in leaves 80000002h to 80000004h */
#define CPUID_BRAND_FIRST 0x80000002u
#define CPUID_BRAND_LAST  0x80000004u
#define BRAND_MAX         48

static enum tf_err find_entry(const struct boot_info *bi, struct smbios_entry *e)
{
	const void *p;

	if (bi->smbios.v) {
		p = paging_map_firmware(bi->smbios, SMBIOS_ENTRY_MAX);
		return p ? smbios_read_entry(p, SMBIOS_ENTRY_MAX, e) : TF_EFAULT;
	}
	if (bi->efi)
		return TF_ENOENT;
	p = paging_map_firmware(HPA(SMBIOS_AREA), SMBIOS_LEN);
	return p ? smbios_find(p, SMBIOS_LEN, e) : TF_EFAULT;
}

/* The brand string without its padding; some CPUs put that in front. */
static void read_brand(char out[BRAND_MAX + 1])
{
	size_t used = 0;

	for (uint32_t leaf = CPUID_BRAND_FIRST; leaf <= CPUID_BRAND_LAST && leaf <= cpuid(0x80000000, 0).eax; leaf++) {
		struct cpuid c = cpuid(leaf, 0);
		char part[sizeof(c)];

		memcpy(part, &c, sizeof(c));
		for (size_t i = 0; i < sizeof(part) && part[i]; i++)
			if (part[i] != ' ' || (used && out[used - 1] != ' '))
				out[used++] = part[i] == '"' ? '?' : part[i];
	}
	while (used && out[used - 1] == ' ')
		used--;
	out[used] = '\0';
}

/* SDM 3A, "Determining the Signature": CPUID leaves the revision in the upper half of an MSR that was 0. */
static uint32_t microcode_revision(void)
{
	uint64_t v = 0;

	if (!wrmsr_safe(MSR_IA32_BIOS_SIGN_ID, 0))
		return 0;
	cpuid(1, 0);
	return rdmsr_safe(MSR_IA32_BIOS_SIGN_ID, &v) ? (uint32_t)(v >> 32) : 0;
}

void machine_report_cpu(void)
{
	char brand[BRAND_MAX + 1];

	read_brand(brand);
	log_info("core", "event=cpu brand=\"%s\" signature=%x microcode=%x", brand, cpuid(1, 0).eax, microcode_revision());
}

void machine_report(const struct boot_info *bi)
{
	struct smbios_info info = { 0 };
	struct smbios_entry entry;
	char brand[BRAND_MAX + 1];

	if (find_entry(bi, &entry) == TF_OK) {
		const uint8_t *table = paging_map_firmware(entry.table, entry.len);

		if (table)
			smbios_parse(table, entry.len, &info);
	}
	read_brand(brand);
	log_info("core",
		 "event=machine vendor=\"%s\" product=\"%s\" board=\"%s\" bios=\"%s\" date=\"%s\" firmware=%s cpu=\"%s\" "
		 "signature=%x microcode=%x",
		 info.vendor, info.product, info.board, info.bios, info.date, bi->efi ? "uefi" : "bios", brand,
		 cpuid(1, 0).eax, microcode_revision());
}
