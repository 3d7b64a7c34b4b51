/* NMIs: nothing here asks for one, so each is the platform's. Counted where it arrives, and logged where that is safe. */
#pragma once

/* The handler: takes no lock, and comes at any moment. Silences the source that port 61h names. */
void nmi_arrived(void);
/* Logs what has arrived since the last call; part of the `work` of the scheduler. */
void nmi_report(void);
