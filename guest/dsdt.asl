/*
 * The emulated board's DSDT. It names the legacy devices, so that a system finds them without probing, and the states
 * that the PM1 control register knows. Numbers must agree with guest/dev/vacpi.h and guest/acpi_tables.c.
 */
DefinitionBlock ("dsdt.aml", "DSDT", 2, "TREFOI", "TREFOIL ", 0x00000001)
{
	/* Soft off: SLP_TYP 5 in PM1a_CNT. There is no sleep state besides. */
	Name (\_S5, Package (4) { 5, 5, 0, 0 })

	/* Interrupt model: 0 the 8259s, 1 the I/O APIC. The board drives both; nothing here depends on it. */
	Name (\PICM, 0)
	Method (\_PIC, 1, NotSerialized)
	{
		PICM = Arg0
	}

	Scope (\_SB)
	{
		Device (PIC)
		{
			Name (_HID, EisaId ("PNP0000"))
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x0020, 0x0020, 1, 2)
				IO (Decode16, 0x00a0, 0x00a0, 1, 2)
				IO (Decode16, 0x04d0, 0x04d0, 1, 2)
				IRQNoFlags () { 2 }
			})
		}

		Device (TIMR)
		{
			Name (_HID, EisaId ("PNP0100"))
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x0040, 0x0040, 1, 4)
				IRQNoFlags () { 0 }
			})
		}

		Device (SPKR)
		{
			Name (_HID, EisaId ("PNP0800"))
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x0061, 0x0061, 1, 1)
			})
		}

		Device (RTC)
		{
			Name (_HID, EisaId ("PNP0B00"))
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x0070, 0x0070, 1, 2)
				IRQNoFlags () { 8 }
			})
		}

		Device (COM1)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, 1)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x03f8, 0x03f8, 1, 8)
				IRQNoFlags () { 4 }
			})
		}

		/* Registers of the board itself: PM1 block and timer, resets, I/O APIC, local APICs. */
		Device (MBRD)
		{
			Name (_HID, EisaId ("PNP0C02"))
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x0092, 0x0092, 1, 1)
				IO (Decode16, 0x0600, 0x0600, 1, 16)
				IO (Decode16, 0x0cf9, 0x0cf9, 1, 1)
				Memory32Fixed (ReadWrite, 0xfec00000, 0x00001000)
				Memory32Fixed (ReadWrite, 0xfee00000, 0x00001000)
			})
		}
	}
}
