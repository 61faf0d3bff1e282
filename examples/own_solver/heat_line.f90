! Heat conduction on a periodic line, u_t = k u_xx: an example of a program outside of the package.
!
!     gfortran -O2 -o heat_line heat_line.f90
!     ./heat_line input.nml        reads a namelist, and writes temperature.txt with one line for each frame
!     ./heat_line --version        prints the version
program heat_line
   implicit none
   integer, parameter :: dp = kind(1.0d0)
   real(dp), parameter :: two_pi = 8 * atan(1.0_dp)
   integer :: cells, frames, frame, step, steps, i, input, output, status
   real(dp) :: diffusivity, amplitude, length, duration, width, time_step
   real(dp), allocatable :: u(:)
   character(len=256) :: argument
   namelist /line/ cells, frames, length, duration, diffusivity, amplitude

   call get_command_argument(1, argument)
   if (argument == '--version') then
      print '(a)', 'heat_line 1.0'
      stop
   end if
   open (newunit=input, file=trim(argument), status='old', action='read', iostat=status)
   if (status == 0) read (input, nml=line, iostat=status)
   if (status /= 0) error stop 'heat_line: cannot read the namelist line'

   width = length / cells
   allocate (u(cells))
   do i = 1, cells
      u(i) = 1 + amplitude * sin(two_pi * (i - 0.5_dp) / cells) &
             + 0.5_dp * amplitude * cos(2 * two_pi * (i - 0.5_dp) / cells)
   end do

   ! Explicit steps of at most half the stable size, the same number in each frame.
   steps = 1
   if (frames > 1) steps = max(1, ceiling(4 * diffusivity * duration / (frames - 1) / width**2))
   time_step = 0
   if (frames > 1) time_step = duration / (frames - 1) / steps
   open (newunit=output, file='temperature.txt', status='replace', action='write')
   do frame = 1, frames
      if (frame > 1) then
         do step = 1, steps
            u = u + time_step * diffusivity / width**2 * (cshift(u, 1) - 2 * u + cshift(u, -1))
         end do
      end if
      write (output, '(*(es25.16e3))') u
   end do
   close (output)
end program heat_line
