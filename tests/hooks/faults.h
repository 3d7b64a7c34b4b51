#pragma once

/* Takes the faults from the command line. */
void faults_read(void);
void faults_before_entry(void);
