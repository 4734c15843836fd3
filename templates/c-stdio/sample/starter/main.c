#include <stdio.h>

int main(void)
{
    /* Your program. */
    return 0;
}
